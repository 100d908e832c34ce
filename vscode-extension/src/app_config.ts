// The apps that a pyproject.toml or onsave.toml tells of, and how one is written there. Pure; a
// full reading of the file is the server's, which also says what is wrong with it.

export type ConfigurationFile = 'pyproject.toml' | 'onsave.toml';

const KEY = '(?:([\\w-]+)|"([^"\\n]*)"|\'([^\'\\n]*)\')';

/** The tables of apps in the text of a configuration: name → offset, in the order of the text. */
function tables(text: string, file: ConfigurationFile): Map<string, number> {
  const prefix = file === 'pyproject.toml' ? 'tool\\s*\\.\\s*onsave\\s*\\.\\s*' : '';
  const header = new RegExp(`^[ \\t]*\\[\\s*${prefix}apps\\s*\\.\\s*${KEY}\\s*[.\\]]`, 'gm');
  const found = new Map<string, number>();
  for (const match of text.matchAll(header)) {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    if (!found.has(name)) found.set(name, match.index);
  }
  return found;
}

/** The names of the apps in the text of a configuration. */
export function configuredApps(text: string, file: ConfigurationFile): string[] {
  return [...tables(text, file).keys()];
}

/** What is to be appended; or the line, 0-based, of what stands in the way. */
export type Writing = { append: string } | { line: number };

/**
 * How an app gets into a configuration file with that text: a table of its own at the end, so that
 * nothing else is touched. What is there already is left alone. `interpreter`, an absolute path of
 * this machine, becomes `python`, which is right on others too.
 */
export function writing(
  text: string, file: ConfigurationFile, name: string, command: readonly string[] | string,
  interpreter: string | undefined,
): Writing {
  // In forms that only TOML's own reader would understand, or under that very name.
  const otherwise = file === 'onsave.toml'
    ? /^[ \t]*apps\s*[.=]/m
    : /^[ \t]*(?:tool\s*\.\s*onsave\s*[.=]|onsave\s*[.=])/m;
  const inTheWay = tables(text, file).get(name) ?? otherwise.exec(text)?.index;
  if (inTheWay !== undefined) return { line: text.slice(0, inTheWay).split('\n').length - 1 };

  const key = /^[\w-]+$/.test(name) ? name : JSON.stringify(name);
  const value = typeof command === 'string'
    ? JSON.stringify(command)
    : `[${command.map((word, index) =>
      JSON.stringify(index === 0 && word === interpreter ? 'python' : word)).join(', ')}]`;
  const apart = text === '' ? '' : text.endsWith('\n') ? '\n' : '\n\n';
  const table = file === 'pyproject.toml' ? `tool.onsave.apps.${key}` : `apps.${key}`;
  return { append: `${apart}[${table}]\ncommand = ${value}\n` };
}

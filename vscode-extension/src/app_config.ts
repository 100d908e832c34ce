// The apps that a pyproject.toml or onsave.toml tells of, and how one is written there. Pure; a
// full reading of the file is the server's, which also says what is wrong with it.

export type ConfigurationFile = 'pyproject.toml' | 'onsave.toml';

/** The names of the apps in the text of a configuration; "" is the one without a name. */
export function configuredApps(text: string, file: ConfigurationFile): string[] {
  const [top, apps] = file === 'pyproject.toml'
    ? [/^\s*\[\s*tool\s*\.\s*onsave\s*\]/m, /^\s*\[\s*tool\s*\.\s*onsave\s*\.\s*apps\s*\.\s*"?([\w-]+)"?\s*\]/gm]
    : [/^\s*command\s*=/m, /^\s*\[\s*apps\s*\.\s*"?([\w-]+)"?\s*\]/gm];
  const named = [...text.matchAll(apps)].map(([, name = '']) => name);
  return [...(named.length === 0 && top.test(text) ? [''] : []), ...new Set(named)];
}

/** What is to be inserted where; or the line, 0-based, of what stands in the way. */
export type Writing = { offset: number; insert: string } | { line: number };

/**
 * How `command` becomes the app of a configuration file with that text. Nothing else in it is
 * touched, and what is configured already is left alone. `interpreter`, an absolute path of this
 * machine, becomes `python`, which is right on others too.
 */
export function writing(
  text: string, file: ConfigurationFile, command: readonly string[] | string,
  interpreter: string | undefined,
): Writing {
  const value = typeof command === 'string'
    ? JSON.stringify(command)
    : `[${command.map((word, index) =>
      JSON.stringify(index === 0 && word === interpreter ? 'python' : word)).join(', ')}]`;
  const line = `command = ${value}\n`;
  // In the way: an app of any form, be it ours or one that only TOML's own reader would understand.
  const taken = file === 'onsave.toml'
    ? /^\s*(?:command\s*=|\[\s*apps\b|apps\s*[.=])/m
    : /^\s*(?:\[\s*tool\s*\.\s*onsave\s*\.|tool\s*\.\s*onsave\b|onsave\s*[.=])/m;
  const found = taken.exec(text);
  if (found !== null) return { line: lineAt(text, found.index + leading(found[0])) };
  if (file === 'onsave.toml') return { offset: 0, insert: line };

  const header = /^[ \t]*\[[ \t]*tool[ \t]*\.[ \t]*onsave[ \t]*\][^\n]*(?:\n|$)/m.exec(text);
  if (header === null) {
    const apart = text === '' ? '' : text.endsWith('\n') ? '\n' : '\n\n';
    return { offset: text.length, insert: `${apart}[tool.onsave]\n${line}` };
  }
  const start = header.index + header[0].length;
  const next = /^[ \t]*\[/m.exec(text.slice(start));
  const own = text.slice(start, next === null ? undefined : start + next.index);
  const there = /^[ \t]*"?command"?[ \t]*=/m.exec(own);
  if (there !== null) return { line: lineAt(text, start + there.index) };
  return { offset: start, insert: header[0].endsWith('\n') ? line : `\n${line}` };
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length - 1;
}

function leading(text: string): number {
  return text.length - text.trimStart().length;
}

// The apps that a pyproject.toml or onsave.toml tells of, and how one is written there. Pure; a
// full reading of the file is the server's, which also says what is wrong with it.

/** The names of the apps in the text of a configuration; "" is the one without a name. */
export function configuredApps(text: string, file: 'pyproject.toml' | 'onsave.toml'): string[] {
  const [top, apps] = file === 'pyproject.toml'
    ? [/^\s*\[\s*tool\s*\.\s*onsave\s*\]/m, /^\s*\[\s*tool\s*\.\s*onsave\s*\.\s*apps\s*\.\s*"?([\w-]+)"?\s*\]/gm]
    : [/^\s*command\s*=/m, /^\s*\[\s*apps\s*\.\s*"?([\w-]+)"?\s*\]/gm];
  const named = [...text.matchAll(apps)].map(([, name = '']) => name);
  return [...(named.length === 0 && top.test(text) ? [''] : []), ...new Set(named)];
}

/**
 * The text of a pyproject.toml with `command` as its app; undefined where it has one already.
 * `interpreter`, an absolute path of this machine, becomes `python`, which is right on others too.
 */
export function withCommand(
  text: string, command: readonly string[], interpreter: string | undefined,
): string | undefined {
  if (/^\s*\[\s*tool\s*\.\s*onsave\b/m.test(text)) return undefined;
  const words = command.map((word, index) =>
    JSON.stringify(index === 0 && word === interpreter ? 'python' : word));
  const before = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  return `${before}${before === '' ? '' : '\n'}[tool.onsave]\ncommand = [${words.join(', ')}]\n`;
}

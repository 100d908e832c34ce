// The README's table of settings, made from package.json, so that the two never differ.
// With --write it is put into README.md; a test compares otherwise.

import fs from 'node:fs';

const START = '<!-- settings: made by npm run readme -->';
const END = '<!-- /settings -->';

/** The table as Markdown. `manifest`: package.json, parsed. */
export function settingsTable(manifest) {
  const settings = Object.entries(manifest.contributes.configuration.properties)
    .sort(([, a], [, b]) => a.order - b.order);
  const rows = settings.map(([name, setting]) => {
    const values = (setting.enum ?? []).map(
      (value, index) => ` \`${value}\`: ${setting.enumDescriptions?.[index] ?? ''}`.trimEnd());
    const text = [setting.markdownDescription.replace(/`#([^#]+)#`/g, '`$1`'), ...values].join(' ');
    return `| \`${name}\` | \`${JSON.stringify(setting.default)}\` | ${text.replaceAll('|', '\\|')} |`;
  });
  return ['| setting | default | what it does |', '| --- | --- | --- |', ...rows].join('\n');
}

/** `readme` with the table in its place. Throws where there is no place for it. */
export function withTable(readme, manifest) {
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`README.md has no ${START} … ${END}`);
  return `${readme.slice(0, start + START.length)}\n${settingsTable(manifest)}\n${readme.slice(end)}`;
}

if (process.argv.includes('--write')) {
  const manifest = JSON.parse(fs.readFileSync('package.json', 'utf8'));
  fs.writeFileSync('README.md', withTable(fs.readFileSync('README.md', 'utf8'), manifest));
}

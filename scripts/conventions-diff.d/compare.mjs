// Compares `paceline commits` with commitlint, message by message, and sorts what differs into classes.
// usage: node compare.mjs MESSAGES OURS.jsonl [CLASS]

import { readFileSync } from "node:fs";
import lint from "@commitlint/lint";
import config from "@commitlint/config-conventional";
import preset from "conventional-changelog-conventionalcommits";
import { CommitParser } from "conventional-commits-parser";

const [messagesFile, oursFile, shown] = process.argv.slice(2);
const messages = readFileSync(messagesFile, "utf8").split("\0").slice(0, -1);
const ours = readFileSync(oursFile, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
if (messages.length !== ours.length) throw new Error(`${messages.length} messages, ${ours.length} answers`);

const { parser: parserOpts } = await preset();
const parser = new CommitParser(parserOpts);
// Both ask for a type and a description; ours says what is wrong with the form of both in one finding.
const form = ["type-empty", "subject-empty"];
const rules = Object.keys(config.rules).filter((rule) => !form.includes(rule));
// Also what commitlint leaves alone by default (merges, reverts), so that all of it is compared.
const always = { parserOpts, defaultIgnores: false };

// A message as git cuts it: lines, the first that is not empty, and what is a comment.
function anatomy(message) {
  const lines = message.split(/\r?\n/);
  const comment = (line) => /^#(\s|$)/.test(line);
  const at = lines.findIndex((line) => line.trim() !== "" && !comment(line));
  const header = at < 0 ? "" : lines[at];
  const below = lines.slice(at + 1);
  return { header, below, comments: lines.some(comment) };
}

// What commitlint's parser takes for a footer begins at the first line with a reference (`#12`) or a note, in any case.
const reference = /#[\w-]+(?=\s|$|[,;)\]])/;
const note = /^[\s|*]*(BREAKING CHANGE|BREAKING-CHANGE)[:\s]+/i;

// Each class: its name, and whether it explains this difference. The first that does, does.
const classes = [
  ["git's own messages are not judged", ({ our }) => our.compliant === null],
  ["comment lines are git's", ({ text }) => text.comments],
  ["a type may hold more than letters, digits and `_`", ({ what, text }) =>
    form_of(what) && /^[^\s():!]*[^\w\s():!][^\s():!]*(\([^()]*\))?!?: /u.test(text.header)],
  ["a type begins with a letter or a digit", ({ what, text }) => form_of(what) && /^_\w*(\(.*\))?!?: /.test(text.header)],
  ["a type is needed", ({ what, text }) => form_of(what) && /^(\(.*\))?!?: /.test(text.header)],
  ["a type is known whatever its case", ({ what, our }) =>
    what === "type-enum" && our.type !== our.type?.toLowerCase() && our.rules.has("type-case")],
  ["a scope holds no parentheses and is not empty", ({ what, text }) =>
    (form_of(what) || what === "scope") &&
    (/^\w*\([^)]*\).*\)!?: /.test(text.header) || /^\w*\(\s*\)/.test(text.header) || /^\w*\((\s|.*\s\)|.*\()/.test(text.header))],
  ["white space around the description is one finding, and no part of it", ({ what, text, our, their }) =>
    (["subject", "form"].includes(what) && (our.description ?? "") === (their.subject ?? "").trim()) ||
    (what === "form" && /:\s*$/.test(text.header)) || what === "header-trim"],
  ["without a type nothing else of the header is judged", ({ what, our }) =>
    our.type === null && ["subject-full-stop", "subject-case", "type-enum", "type-case"].includes(what)],
  ["breaking is upper case, with a colon, after an empty line", ({ what, message }) =>
    what === "breaking" && message.split(/\r?\n/).slice(1).some((line) => note.test(line))],
  ["a reference in a line begins no footer", ({ what, text }) =>
    ["footer-leading-blank", "body-leading-blank"].includes(what) && text.below.some((line) => reference.test(line))],
  ["body and footers are divided elsewhere", ({ what, their, our }) =>
    ["body-max-line-length", "footer-max-line-length"].includes(what) &&
    has(their, "body-max-line-length", "footer-max-line-length") === has(our, "body-max-line-length", "footer-max-line-length")],
  ["a second line that is not empty, whatever it is", ({ what, text }) =>
    what === "body-leading-blank" && text.below.length > 0],
];
const form_of = (what) => what === "form" || what === "subject" || what === "scope" || what === "type" || what.startsWith("type-") || what.startsWith("subject-") || what === "breaking";
const has = (side, ...names) => names.some((name) => side.rules.has(name));

const counts = new Map(classes.map(([name]) => [name, { messages: new Set(), by: new Map() }]));
counts.set("unexplained", { messages: new Set(), by: new Map() });
let alike = 0;

for (const [index, message] of messages.entries()) {
  const our = { ...ours[index], rules: new Set(ours[index].findings.map((finding) => finding.rule)) };
  const parsed = message.trim() === "" ? {} : parser.parse(message);
  // It throws at a message of white space alone.
  const nothing = { valid: true, errors: [], warnings: [] };
  const verdict = message.trim() === "" ? nothing : await lint(message, config.rules, always);
  const fired = [...verdict.errors, ...verdict.warnings].map((result) => result.name);
  const their = {
    form: Boolean(parsed.type && parsed.subject),
    type: parsed.type ?? null,
    scope: parsed.scope ?? null,
    subject: parsed.subject ?? null,
    breaking: (parsed.notes ?? []).length > 0,
    rules: new Set(fired),
  };
  const differences = [];
  const differ = (what, a, b) => { if (a !== b) differences.push(what); };
  differ("form", our.compliant !== null && !our.rules.has("header-form"), their.form);
  if (their.form && our.type !== null) {
    differ("type", our.type, their.type);
    differ("scope", our.scope, their.scope);
    differ("subject", our.description, their.subject);
  }
  differ("breaking", our.breaking, their.breaking);
  for (const rule of rules) differ(rule, our.rules.has(rule), their.rules.has(rule));
  if (differences.length === 0) {
    alike += 1;
    continue;
  }
  const text = anatomy(message);
  for (const what of differences) {
    const found = classes.find(([, explains]) => explains({ what, message, text, our, their }));
    const name = found ? found[0] : "unexplained";
    const count = counts.get(name);
    count.messages.add(index);
    count.by.set(what, (count.by.get(what) ?? 0) + 1);
    if (name === shown) {
      console.log(`--- ${index} ${what} (ours ${JSON.stringify([our.type, our.scope, our.description, our.breaking, ...our.rules])}, theirs ${JSON.stringify([their.type, their.scope, their.subject, their.breaking, ...their.rules])})\n${message.slice(0, 1500)}`);
    }
  }
}

console.log(`${messages.length} messages, ${alike} judged alike in all of form, parts, breaking and ${rules.length} rules`);
console.log("| class | messages | differences |\n|---|---|---|");
for (const [name, { messages: of, by }] of counts) {
  const list = [...by].sort((a, b) => b[1] - a[1]).map(([what, count]) => `${what} ${count}`).join(", ");
  console.log(`| ${name} | ${of.size} | ${list} |`);
}
process.exit(counts.get("unexplained").messages.size === 0 ? 0 : 1);

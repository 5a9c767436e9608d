// npm's judges: `node judge.mjs JUDGE [CLIENT...]`, {name: text} in, {name: what it says of the text} out, as JSON.
import { text as read } from "node:stream/consumers";
import { caniemail } from "caniemail";
import { HtmlValidate } from "html-validate";
import compile from "mjml";

const [judge, ...clients] = process.argv.slice(2);
const validator = new HtmlValidate({
  root: true,
  extends: ["html-validate:recommended", "html-validate:document"],
  rules: {
    // A mail has its looks in style attributes and in attributes of tables: many clients read nothing else.
    "no-inline-style": "off",
    "no-deprecated-attr": "off",
    // MJML writes these, whatever a template says: comments that only Outlook for Windows reads, `<br />` in a text
    // beside `<meta>` in the head, a doctype in lower case, a <div role="article"> around all.
    "no-conditional-comment": "off",
    "void-style": "off",
    "doctype-style": ["error", { style: "lowercase" }],
    "prefer-native-element": ["error", { exclude: ["article"] }],
  },
});

const JUDGES = {
  /** ["line:column rule: message"] of a whole page. */
  "html-validate": async (html) => {
    const { results } = await validator.validateString(html);
    return results.flatMap(({ messages }) => messages.map((m) => `${m.line}:${m.column} ${m.ruleId}: ${m.message}`));
  },
  /** {feature: {client: notes}} of what these clients lack, or have in part; in the rules of @media too. */
  caniemail: (html) => {
    const css = [...html.matchAll(/@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}/g)].map(([, rules]) => rules).join("\n");
    const found = {};
    for (const { issues } of [caniemail({ clients, html }), caniemail({ clients, css: css || " " })])
      for (const [client, features] of [...issues.errors, ...issues.warnings])
        for (const { title, support, notes } of features) (found[title] ??= {})[client] = [support, ...notes].join(" ");
    return found;
  },
  mjml: async (mjml) => (await compile(mjml, { minify: false, fonts: {}, validationLevel: "strict" })).html,
};

const texts = JSON.parse(await read(process.stdin));
for (const name in texts) texts[name] = await JUDGES[judge](texts[name]);
process.stdout.write(JSON.stringify(texts));

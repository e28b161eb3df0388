// What two readers of mail make of each file that is named: one JSON list, in the order of the files.
import { readFile } from "node:fs/promises";
import { simpleParser } from "mailparser";
import PostalMime from "postal-mime";

const readers = {
  mailparser: async (raw) => {
    // Without its own text of the HTML and its own HTML of the text.
    const mail = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true });
    return [mail.subject, mail.text, mail.html, mail.from.value[0], mail.to.value[0], mail.attachments.length];
  },
  "postal-mime": async (raw) => {
    const mail = await PostalMime.parse(raw);
    return [mail.subject, mail.text, mail.html, mail.from, mail.to[0], mail.attachments.length];
  },
};

const found = [];
for (const file of process.argv.slice(2)) {
  const raw = await readFile(file);
  for (const [reader, read] of Object.entries(readers)) {
    const [subject, text, html, from, to, attached] = await read(raw);
    found.push({ file, reader, subject, text, html, from: [from.name, from.address], to: [to.name, to.address], attached });
  }
}
console.log(JSON.stringify(found));

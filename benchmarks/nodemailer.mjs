// nodemailer with a pool of connections, building each letter: node nodemailer.mjs PORT LETTERS CONNECTIONS ISSUE
// ISSUE is a JSON file with subject, sender, text, html, the holes' marks by name, and the readers' values.
// Prints seconds of the clock and of the processor, from before the first connection until the pool is closed.
import { readFileSync } from "node:fs";
import { createTransport } from "nodemailer";

const [port, letters, connections] = process.argv.slice(2, 5).map(Number);
const issue = JSON.parse(readFileSync(process.argv[5], "utf8"));

function filled(part, values, escape) {
  for (const [name, mark] of Object.entries(issue.holes)) {
    part = part.replaceAll(mark, () => escape(values[name]));
  }
  return part;
}

const asIs = (value) => value;
const escaped = (value) =>
  value.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

function letter(number) {
  const own = issue.readers[number % issue.readers.length];
  return {
    from: issue.sender,
    to: own.address,
    subject: issue.subject,
    text: filled(issue.text, own, asIs),
    html: filled(issue.html, own, escaped),
    headers: {
      "List-Unsubscribe": `<${own.unsubscribe}>`,
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
  };
}

const clock = process.hrtime.bigint();
const processor = process.cpuUsage();
const pool = createTransport({
  pool: true,
  host: "127.0.0.1",
  port,
  secure: false,
  ignoreTLS: true,
  maxConnections: connections,
  maxMessages: Infinity,
});
let next = 0;
// Twice as many letters as connections are under way, so that no connection waits for one to be built.
await Promise.all(
  Array.from({ length: 2 * connections }, async () => {
    while (next < letters) await pool.sendMail(letter(next++));
  }),
);
pool.close();
const { user, system } = process.cpuUsage(processor);
const seconds = Number(process.hrtime.bigint() - clock) / 1e9;
console.log(JSON.stringify({ seconds, cpu: (user + system) / 1e6 }));

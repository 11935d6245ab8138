/** Evaluates what it is asked on stdin, a line of JSON each, and answers on stdout. */

import { createInterface } from "node:readline";

const PATIENCE_MS = 60_000;

const evaluate = async (expression) => await (0, eval)(expression);

async function wait(expression) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    if (await evaluate(expression)) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never; the log: ${JSON.stringify(globalThis.log)}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, expression } = JSON.parse(line);
  let answer;
  try {
    answer = { value: await (verb === "wait" ? wait : evaluate)(expression) };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
}

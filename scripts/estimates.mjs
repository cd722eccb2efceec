// Prints how many tokens of o200k_base each file has that is named on the command line, as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const found = createRequire(`${folder}/`).resolve("gpt-tokenizer/encoding/o200k_base");
const { encode } = await import(pathToFileURL(found));
const counts = files.map((file) => encode(readFileSync(file, "utf8")).length);
console.log(JSON.stringify(counts));

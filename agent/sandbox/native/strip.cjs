// TypeScript on standard input to JavaScript on standard output, by node's own means. Types become blanks, so that
// lines and columns stay; what blanks cannot replace (enums, namespaces, parameter properties) is rewritten.
"use strict";

const { stripTypeScriptTypes } = require("node:module");
const source = require("node:fs").readFileSync(0, "utf8");

let made;
try {
  made = stripTypeScriptTypes(source, { mode: "strip" });
} catch (error) {
  if (error.code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") throw error;
  made = stripTypeScriptTypes(source, { mode: "transform" });
}
process.stdout.write(made);

// TypeScript on standard input to JavaScript, as `{"code", "moved"}` on standard output, or `{"message", "line",
// "column"}` where it does not parse. Types are not checked. By node's own means types become blanks, so that lines and
// columns stay; what blanks cannot replace (enums, namespaces, parameter properties) is rewritten, and so is everything
// by the compiler's library, whose path is the argument.
"use strict";

const source = require("node:fs").readFileSync(0, "utf8");

function byNode() {
  const { stripTypeScriptTypes } = require("node:module");
  try {
    return { code: stripTypeScriptTypes(source, { mode: "strip" }), moved: false };
  } catch (error) {
    if (error.code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") throw error;
    return { code: stripTypeScriptTypes(source, { mode: "transform" }), moved: true };
  }
}

function byCompiler(path) {
  const typescript = require(path);
  const { ScriptTarget, ModuleKind } = typescript;
  const compilerOptions = { target: ScriptTarget.ES2022, module: ModuleKind.ESNext };
  const { outputText, diagnostics } = typescript.transpileModule(source, { reportDiagnostics: true, compilerOptions });
  if (diagnostics.length === 0) return { code: outputText, moved: true };
  const [{ messageText, file, start }] = diagnostics;
  const { line, character } = file.getLineAndCharacterOfPosition(start);
  const message = typescript.flattenDiagnosticMessageText(messageText, "\n");
  return { message, line: line + 1, column: character };
}

function told(error) {
  const [, line, marked] = /^[^\n]*:(\d+)\n(?:[^\n]*\n)*?( *)\^/.exec(error.stack) ?? [];
  return { message: error.message, line: Number(line ?? 0), column: marked === undefined ? 0 : marked.length };
}

let result;
try {
  result = process.argv[2] ? byCompiler(process.argv[2]) : byNode();
} catch (error) {
  result = told(error);
}
process.stdout.write(JSON.stringify(result));

// Runs beside a JavaScript program, in its process: loads it and answers calls to it over descriptor 3.
//
//     server -> here   {"code", "module"} once; {"id", "call"} for each call; {"id", "end": true}
//     here -> server   {"loaded": true} or {"fault", "compiling"}; {"id", "ok": value} or {"id", "err"}; {"id", "end"}
//
// Frames are a big-endian length of four bytes and JSON. Nothing here is trusted by the server: the program can change
// every object of this process. What is needed after the program was loaded is taken before, so that an honest answer
// is told exactly whatever the program replaced.
"use strict";

const fs = require("node:fs");
const vm = require("node:vm");
const Module = require("node:module");
const util = require("node:util");

const CHANNEL = 3;
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_NODES = 1_000_000;
const MAX_DEPTH = 100;
const MAX_TEXT = 300;
const MAX_STACK = 8000;

const { readSync, writeSync } = fs;
const { apply, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;
const { isArray } = Array;
const { isProxy, isPromise, isMap, isSet, isTypedArray, isNativeError } = util.types;
const { inspect } = util;
const { parse, stringify } = JSON;
const { allocUnsafe } = Buffer;
const { exit } = process;
const unbound = Function.prototype.bind.bind(Function.prototype.call);
const hasOwn = unbound(Object.prototype.hasOwnProperty);
const charCodeAt = unbound(String.prototype.charCodeAt);
const slice = unbound(String.prototype.slice);
const hex = unbound(Number.prototype.toString);
const bigHex = unbound(BigInt.prototype.toString);
const latin1 = unbound(Buffer.prototype.latin1Slice);
const writeLatin1 = unbound(Buffer.prototype.latin1Write);
const readLength = unbound(Buffer.prototype.readUInt32BE);
const writeLength = unbound(Buffer.prototype.writeUInt32BE);
const forEachInMap = unbound(Map.prototype.forEach);
const forEachInSet = unbound(Set.prototype.forEach);
const then = unbound(Promise.prototype.then);
const typedLength = unbound(getOwnPropertyDescriptor(getPrototypeOf(Uint8Array.prototype), "length").get);
const objectPrototype = Object.prototype;
const arrayPrototype = Array.prototype;
const mapPrototype = Map.prototype;
const setPrototype = Set.prototype;

class Unserialisable {
  constructor(message) {
    this.message = message;
  }
}

let nodes = 0;
let size = 0;

function spend(text) {
  nodes += 1;
  size += text.length;
  if (nodes > MAX_NODES) throw new Unserialisable(`more than ${MAX_NODES} values`);
  if (size > MAX_BYTES) throw new Unserialisable(`more than ${MAX_BYTES} bytes`);
  return text;
}

/** A string as ASCII JSON. */
function quoted(text) {
  const written = stringify(text);
  let out = "";
  let start = 0;
  for (let at = 0; at < written.length; at += 1) {
    const code = charCodeAt(written, at);
    if (code > 126) {
      out += slice(written, start, at) + "\\u" + slice("000" + hex(code, 16), -4);
      start = at + 1;
    }
  }
  return start === 0 ? written : out + slice(written, start);
}

/** What is told of a value that is not plain data: its class and a short text. */
function opaque(value) {
  let kind = typeof value;
  let text = "";
  try {
    if (kind === "object") kind = isProxy(value) ? "Proxy" : `${value.constructor.name}`;
    text = inspect(value, { customInspect: false, depth: 2, breakLength: Infinity, maxStringLength: MAX_TEXT });
  } catch {
    text = "";
  }
  return spend(`["x",${quoted(slice(kind, 0, MAX_TEXT))},${quoted(slice(`${text}`, 0, MAX_TEXT))}]`);
}

function encode(value, depth) {
  if (depth > MAX_DEPTH) throw new Unserialisable(`nested deeper than ${MAX_DEPTH}`);
  switch (typeof value) {
    case "string":
      return spend(quoted(value));
    case "number":
      return spend("" + value);
    case "boolean":
      return spend(value ? "true" : "false");
    case "undefined":
      return spend('["u"]');
    case "bigint":
      return spend(`["i","${bigHex(value, 16)}"]`);
    case "object":
      return value === null ? spend("null") : encodeObject(value, depth);
    default:
      return opaque(value);
  }
}

function encodeObject(value, depth) {
  if (isProxy(value)) return opaque(value);
  const prototype = getPrototypeOf(value);
  if (isArray(value) && prototype === arrayPrototype) {
    let out = '["l"';
    for (let index = 0; index < value.length; index += 1) out += "," + encodeProperty(value, index, depth);
    return spend(out + "]");
  }
  if (isTypedArray(value)) {
    let out = '["l"';
    for (let index = 0; index < typedLength(value); index += 1) out += "," + encode(value[index], depth + 1);
    return spend(out + "]");
  }
  if (isMap(value) && prototype === mapPrototype) {
    let out = '["d"';
    forEachInMap(value, (held, key) => {
      out += "," + encode(key, depth + 1) + "," + encode(held, depth + 1);
    });
    return spend(out + "]");
  }
  if (isSet(value) && prototype === setPrototype) {
    let out = '["s"';
    forEachInSet(value, (held) => {
      out += "," + encode(held, depth + 1);
    });
    return spend(out + "]");
  }
  if (prototype !== objectPrototype && prototype !== null) return opaque(value);
  let out = '["d"';
  const keys = ownKeys(value);
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index];
    if (typeof key !== "string") return opaque(value);
    if (!getOwnPropertyDescriptor(value, key).enumerable) continue;
    out += "," + spend(quoted(key)) + "," + encodeProperty(value, key, depth);
  }
  return spend(out + "]");
}

function encodeProperty(value, key, depth) {
  const found = getOwnPropertyDescriptor(value, key);
  if (found === undefined) return spend('["u"]');
  return hasOwn(found, "value") ? encode(found.value, depth + 1) : spend('["x","accessor",""]');
}

function text(value, limit) {
  try {
    return slice(`${value}`, 0, limit);
  } catch {
    return "";
  }
}

/** What is told of something thrown, as JSON. */
function described(thrown) {
  let kind = "Error";
  let message = "";
  let stack = "";
  try {
    if (isNativeError(thrown) || thrown instanceof Error) {
      kind = text(thrown.name, MAX_TEXT);
      message = text(thrown.message, MAX_STACK);
      stack = text(thrown.stack, MAX_STACK);
    } else {
      kind = thrown === null ? "null" : typeof thrown;
      message = "thrown: " + slice(inspect(thrown, { customInspect: false, depth: 1 }), 0, MAX_TEXT);
    }
  } catch {
    message = "";
  }
  return `{"type":${quoted(kind)},"message":${quoted(message)},"stack":${quoted(stack)}}`;
}

function send(body) {
  const { length } = body;
  const frame = allocUnsafe(4 + length);
  writeLength(frame, length, 0);
  writeLatin1(frame, body, 4);
  let done = 0;
  while (done < frame.length) done += writeSync(CHANNEL, frame, done, frame.length - done);
}

function receive() {
  const header = exactly(4);
  return parse(latin1(exactly(readLength(header, 0))));
}

function exactly(length) {
  const buffer = allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const count = readSync(CHANNEL, buffer, done, length - done, null);
    if (count === 0) exit(0);
    done += count;
  }
  return buffer;
}

function answer(id, value) {
  nodes = 0;
  size = 0;
  let wire;
  try {
    wire = encode(value, 0);
  } catch (error) {
    const told = error instanceof Unserialisable ? error.message : "";
    send(`{"id":"${id}","err":{"type":"Unserialisable","message":${quoted(told)}}}`);
    return;
  }
  if (wire.length > MAX_BYTES) {
    send(`{"id":"${id}","err":{"type":"Unserialisable","message":"more than ${MAX_BYTES} bytes"}}`);
    return;
  }
  send(`{"id":"${id}","ok":${wire}}`);
}

function fail(id, thrown) {
  send(`{"id":"${id}","err":${described(thrown)}}`);
}

/** Answer calls until one has to wait for a promise; go on when that is settled. */
function serve(evaluate) {
  for (;;) {
    const order = receive();
    const { id } = order;
    if (order.end === true) {
      send(`{"id":"${id}","end":true}`);
      continue;
    }
    let value;
    try {
      value = evaluate(order.call);
    } catch (thrown) {
      fail(id, thrown);
      continue;
    }
    if (isPromise(value)) {
      then(
        value,
        (settled) => {
          answer(id, settled);
          serve(evaluate);
        },
        (thrown) => {
          fail(id, thrown);
          serve(evaluate);
        },
      );
      return;
    }
    answer(id, value);
  }
}

/** Make what a program exports known by name, where it is not anyway. */
function publish(exported, evaluate) {
  if (exported === null || (typeof exported !== "object" && typeof exported !== "function")) return;
  for (const name of ownKeys(exported)) {
    if (typeof name !== "string" || !/^[A-Za-z_$][\w$]*$/.test(name)) continue;
    try {
      if (evaluate(`typeof ${name}`) === "undefined") globalThis[name] = exported[name];
    } catch {
      continue;
    }
  }
}

const ending = "\n;return function () { return eval(arguments[0]); };";

function loadScript(code) {
  const path = "/tmp/program.js";
  const loaded = new Module(path);
  loaded.filename = path;
  const required = Module.createRequire(path);
  const names = ["exports", "require", "module", "__filename", "__dirname"];
  const options = { filename: path };
  const loader = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  if (loader) options.importModuleDynamically = loader;
  const body = vm.compileFunction(code + ending, names, options);
  compiling = false;
  const evaluate = apply(body, loaded.exports, [loaded.exports, required, loaded, path, "/tmp"]);
  if (typeof evaluate !== "function") throw new SyntaxError("the program returns before its end");
  publish(loaded.exports, evaluate);
  return evaluate;
}

async function loadModule(code) {
  const path = "/tmp/program.mjs";
  const name = `evaluate_${process.hrtime.bigint()}`;
  fs.writeFileSync(path, `${code}\n;export function ${name}() { return eval(arguments[0]); }`);
  const loaded = await import(path);
  const evaluate = loaded[name];
  publish({ ...loaded, [name]: undefined }, evaluate);
  return evaluate;
}

let compiling = true;

async function main() {
  const order = receive();
  let evaluate;
  try {
    evaluate = order.module ? await loadModule(order.code) : loadScript(order.code);
  } catch (thrown) {
    send(`{"fault":${described(thrown)},"compiling":${compiling}}`);
    return;
  }
  send('{"loaded":true}');
  serve(evaluate);
}

main();

"""Programs that do not know the answer and try to pass all the same. Every one is asked for `f(2)`, which should be 3,
and for nothing on standard input, which should print `3`; none may pass, and none may make a failure of ours of it."""

from __future__ import annotations

JAVASCRIPT = {
    "exit at load": "process.exit(0)",
    "exit in the function": "function f() { process.exit(0) }",
    "real exit": "function f() { process.reallyExit(0) }",
    "abort": "function f() { process.abort() }",
    "says passed": "console.log('passed'); console.error('PASSED 1/1'); function f() {}",
    "replaced JSON": "JSON.stringify = () => '3'; JSON.parse = () => ({}); function f() { return 1 }",
    "replaced fs": "const fs = require('fs'); fs.writeSync = () => 0; fs.readSync = () => 0; function f() { return 1 }",
    "replaced Reflect": "Reflect.apply = Reflect.ownKeys = () => 3; Object.is = () => true; function f() { return 1 }",
    "replaced Function.prototype.call": "Function.prototype.call = Function.prototype.apply = () => 3\n"
    "function f() { return 1 }",
    "replaced String.prototype": "for (const k of Object.getOwnPropertyNames(String.prototype))\n"
    "  if (k !== 'constructor') try { String.prototype[k] = () => '3' } catch {}\nfunction f() { return 1 }",
    "setters on Array.prototype": "for (let i = 0; i < 9; i++)\n"
    "  Object.defineProperty(Array.prototype, i, { get: () => 3, set() {} })\nfunction f() { return [] }",
    "getters on Object.prototype": "for (const k of ['value', 'ok', 'id', 'end', 'length'])\n"
    "  Object.defineProperty(Object.prototype, k, { get: () => 3, set() {} })\nfunction f() { return {} }",
    "toJSON": "function f() { return { toJSON: () => 3 } }",
    "toJSON on prototypes": "Object.prototype.toJSON = Number.prototype.toJSON = () => 3; function f() { return 1 }",
    "valueOf": "function f() { return { valueOf: () => 3, toString: () => '3', [Symbol.toPrimitive]: () => 3 } }",
    "boxed number": "function f() { return new Number(3) }",
    "subclass of Number": "class Three extends Number {}\nfunction f() { return new Three(3) }",
    "proxy": "function f() { return new Proxy({}, { get: () => 3, getPrototypeOf: () => Number.prototype }) }",
    "proxy of an array": "function f() { return new Proxy([3], {}) }",
    "thenable": "function f() { return { then(resolve) { resolve(3) } } }",
    "replaced then": "Promise.prototype.then = (f) => f(3); async function f() { return 1 }",
    "text": "function f() { return '3' }",
    "array": "function f() { return [3] }",
    "true": "function f() { return true }",
    "forged replies": 'const b = Buffer.from(\'{"id":"","ok":3}\'); const h = Buffer.alloc(4); h.writeUInt32BE(b.length)\n'
    "for (let i = 0; i < 9; i++) require('fs').writeSync(3, Buffer.concat([h, b]))\nfunction f() { return 1 }",
    "forged loading": "const b = Buffer.from('{\"loaded\":true}'); const h = Buffer.alloc(4); h.writeUInt32BE(b.length)\n"
    "require('fs').writeSync(3, Buffer.concat([h, b])); process.exit(0)",
    "forged failure of ours": 'const b = Buffer.from(\'{"failed":"x","token":""}\'); const h = Buffer.alloc(4)\n'
    "h.writeUInt32BE(b.length); require('fs').writeSync(3, Buffer.concat([h, b])); function f() { return 1 }",
    "forged confinement": "const b = Buffer.from('{\"confined\":true}'); const h = Buffer.alloc(4)\n"
    "h.writeUInt32BE(b.length); require('fs').writeSync(3, Buffer.concat([h, b])); function f() { return 1 }",
    "second reply": "const fs = require('fs'), write = fs.writeSync; function f() {\n"
    "  setImmediate(() => write(3, 'xxxx')); write(3, Buffer.from([0, 0, 0, 2, 123, 125])); return 1 }",
    "half a frame": "require('fs').writeSync(3, Buffer.from([0, 0, 1])); function f() { return 1 }",
    "huge frame": "require('fs').writeSync(3, Buffer.from([255, 255, 255, 255, 1])); function f() { return 1 }",
    "closed channel": "require('fs').closeSync(3); function f() { return 1 }",
    "swallows what follows": "function f() { return 1 } /*",
    "template that swallows": "function f() { return 1 } `",
    "returns early": "function f() { return 1 }\nreturn",
    "own eval": "globalThis.eval = () => '3'; function f() { return 1 }",
    "answers at exit": "process.on('exit', () => console.log('4')); function f() { process.exit(0) }",
    "another process": "require('child_process').fork('/tmp/program.js'); function f() { return 1 }",
    "thread": "const { Worker } = require('worker_threads')\n"
    'new Worker(\'require("fs").writeSync(3, "xxxx")\', { eval: true }); function f() { return 1 }',
    "debugger": "try { require('inspector').open(0) } catch {}\nfunction f() { return 1 }",
    "kills": "for (const p of [0, -1, process.ppid]) try { process.kill(p, 9) } catch {}\nfunction f() { return 1 }",
}

_FRAME = """
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
static void frame(const char* text) {
  int n = 0; while (text[n]) n++;
  char h[4] = {0, 0, 0, (char)n};
  if (write(3, h, 4) != 4 || write(3, text, n) != n) printf("no channel");
}
"""

CPP = {
    "exit at start": "#include <cstdlib>\nstatic int x = (exit(0), 0);\nint f(int) { return 1; }",
    "exit in the function": "#include <unistd.h>\nint f(int) { _exit(0); }",
    "exit of main": "#include <cstdlib>\nint f(int) { return 1; }\nint main() { exit(0); }",
    "abort": "#include <cstdlib>\nint f(int) { abort(); }",
    "says passed": '#include <cstdio>\nstatic int x = puts("passed");\nint f(int) { return 1; }\nint main() {}',
    "equal to everything": "struct E { template <class T> bool operator==(const T&) const { return true; } };\n"
    "E f(int) { return {}; }",
    "converts to everything": "struct E { template <class T> operator T() const { return T(3); } };\nE f(int) { return {}; }",
    "own comma": "struct E {};\ntemplate <class T> int operator,(E, T) { return 1; }\nE f(int) { return {}; }",
    "text": 'const char* f(int) { return "3"; }\n#include <cstdio>\nint main() { fputs("3", stderr); }',
    "character": "char f(int) { return '3'; }",
    "truth": "bool f(int) { return true; }",
    "pointer": "int three = 4;\nint* f(int) { return &three; }",
    "nothing": "void f(int) {}",
    "macro over the call": "int f(int) { return 1; }\n#define f(x) true",
    "macro over keywords": "int f(int) { return 1; }\n#define switch if\n#define case if",
    "own entry": "int f(int) { return 1; }\n#undef main\nint main() { return 0; }",
    "own harness": 'namespace burnish_harness { void call(unsigned, Sink& s) { s.put("1"); } }\nint f(int) { return 1; }',
    "own reading": 'extern "C" long read(int, void*, unsigned long) { return 0; }\nint f(int) { return 1; }',
    "own writing": 'extern "C" long write(int, const void*, unsigned long n) { return n; }\nint f(int) { return 1; }',
    "swallows what follows": "int f(int) { return 1; } /*",
    "condition that swallows": "int f(int) { return 1; }\n#if 0",
    "raw text that swallows": 'int f(int) { return 1; }\nconst char* s = R"(',
    "brace that swallows": "int f(int) { return 1; }\nnamespace x {",
    "includes the calls": '#include "main.cpp"',
    "includes a secret": 'int f(int) { return\n#include "/etc/passwd"\n; }',
    "reads a secret": '__asm__(".incbin \\"/etc/shadow\\"");\nint f(int) { return 1; }',
    "forged replies": _FRAME + 'static int x = (frame("{\\"id\\":\\"\\",\\"ok\\":3}"), 0);\nint f(int) { return 1; }',
    "forged loading": _FRAME + 'static int x = (frame("{\\"loaded\\":true}"), exit(0), 0);\nint f(int) { return 1; }',
    "forged failure of ours": _FRAME + 'static int x = (frame("{\\"failed\\":1,\\"token\\":\\"\\"}"), 0);\n'
    "int f(int) { return 1; }",
    "second reply": _FRAME + 'int f(int) { frame("{}"); return 1; }',
    "closed channel": "#include <unistd.h>\nint f(int) { close(3); return 1; }",
    "another process": "#include <unistd.h>\nint f(int) { if (fork() == 0) _exit(0); return 1; }",
    "another program": '#include <unistd.h>\nint f(int) { execl("/usr/bin/ld", "ld", "--version", (char*)0); return 1; }',
    "thread": _FRAME + '#include <thread>\nint f(int) { std::thread([] { frame("{}"); }).join(); return 1; }',
    "exception": "int f(int) { throw 3; }",
    "jump": "#include <csetjmp>\njmp_buf b;\nint f(int) { longjmp(b, 1); }",
    "end of the stack": "int f(int x) { volatile char b[999]; b[0] = 1; return f(x + 1) + b[0]; }",
    "kills": "#include <signal.h>\n#include <unistd.h>\nint f(int) { kill(0, 9); kill(-1, 9); kill(getppid(), 9); return 1; }",
}
"""By what they try."""

// Before every JavaScript program: what it prints is written when it prints it, as to a file, and not when its event
// loop comes to it. A program that prints without end is then known as one, and process.exit() cuts nothing off.
"use strict";

for (const stream of [process.stdout, process.stderr]) {
  if (stream._handle && stream._handle.setBlocking) stream._handle.setBlocking(true);
}

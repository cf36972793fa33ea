// Runs a header's driver as WebAssembly and prints what its main would: node wasm.js FILE STEPS NUMBERS
const fs = require('fs');
const [file, steps, numbers] = process.argv.slice(2);
const module_ = new WebAssembly.Module(fs.readFileSync(file));
if (WebAssembly.Module.imports(module_).length) throw new Error('it imports functions that it should hold itself');
const m = new WebAssembly.Instance(module_).exports;
console.log('selftest', m.selftest());
m.begin();
for (let t = 0; t < +steps; ++t) {
  if (m.each(t)) process.exit(1);
  for (const bits of new Uint32Array(m.memory.buffer, m.to.value, +numbers)) console.log(bits.toString(16));
}

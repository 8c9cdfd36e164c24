/** What runtimes and drivers say when memory ran out: of the device or of the machine. */
const MEMORY = /out of memory|failed to allocate|cannot allocate|bad_?alloc|ALLOC_FAILED/i;
/** What they say when the device, or the process's hold on it, is gone. */
const LOST =
  /\bCUDA(?:_?ERROR| (?:error|failure))|\bcuda[A-Z]\w+|\bCU(?:BLAS|DNN|FFT)\b|device-side|illegal memory access|launch failure|device (?:is )?lost/;

/** The device failed, not an item. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  /** A smaller batch may pass. */
  readonly memory: boolean;

  constructor(message: string) {
    super(message);
    this.memory = MEMORY.test(message);
  }
}

/** What a run threw: the device's failure, or the model's with this batch. */
export function runError(message: string): Error {
  return MEMORY.test(message) || LOST.test(message) ? new DeviceError(message) : new Error(message);
}

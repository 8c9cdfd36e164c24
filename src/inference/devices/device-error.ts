/** Messages of runtimes and drivers when the device or the machine is out of memory. */
const MEMORY = /out of memory|failed to allocate|cannot allocate|bad_?alloc|ALLOC_FAILED/i;
/** Their messages when the device failed, or the process lost its connection to it. */
const LOST =
  /\bCUDA(?:_?ERROR| (?:error|failure))|\bcuda[A-Z]\w+|\bCU(?:BLAS|DNN|FFT)\b|device-side|illegal memory access|launch failure|device (?:is )?lost/;

/** The device failed; the items are not at fault. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  /** Whether it ran out of memory: a smaller batch may pass. */
  readonly isOutOfMemory: boolean;

  constructor(message: string) {
    super(message);
    this.isOutOfMemory = MEMORY.test(message);
  }
}

/** The error of a failed run: a DeviceError if the device failed, a plain Error if the model failed on the batch. */
export function runError(message: string): Error {
  return MEMORY.test(message) || LOST.test(message) ? new DeviceError(message) : new Error(message);
}

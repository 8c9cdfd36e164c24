/** The lock of one command on an output. */
export interface OutputLock extends AsyncDisposable {
  /** Aborts when the lock is lost: it was not renewed for so long that another command took it, or its file was removed. */
  readonly lost: AbortSignal;
  /** Removes the lock, unless another command holds it by now. A second call does nothing. */
  release(): Promise<void>;
}

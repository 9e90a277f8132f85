// A browser opens about six HTTP/1.1 connections to a host, over all its tabs. A stream keeps one
// for ever, so streams take one of four slots first (shared between tabs by the Web Locks API);
// who gets none polls instead, and two connections stay free for questions.

const SLOTS = 4;
const held = new Set<number>();

export async function takeSlot(): Promise<(() => void) | null> {
  for (let i = 0; i < SLOTS; i++) {
    if (held.has(i)) continue;
    held.add(i);
    const release = await lock(`watershed-stream-${i}`);
    if (release) return () => (held.delete(i), release());
    held.delete(i);
  }
  return null;
}

function lock(name: string): Promise<(() => void) | null> {
  // Pages that are not from loopback or https have no locks: then only this tab counts.
  if (typeof navigator === 'undefined' || !navigator.locks) return Promise.resolve(() => {});
  return new Promise((given) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (l) => {
        if (!l) return given(null);
        return new Promise<void>((done) => given(done));
      })
      .catch(() => given(null));
  });
}

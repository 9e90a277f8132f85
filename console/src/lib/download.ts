// Gives the reader a file made here. A link to a blob is a navigation, which the content security
// policy allows.

export function download(name: string, type: string, parts: string[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken the blob by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** "dead-letters-2026-11-29T10-04-05.ndjson": no sign that a file system would refuse. */
export function fileName(stem: string, ending: string, now = new Date()): string {
  return `${stem}-${now.toISOString().slice(0, 19).replaceAll(':', '-')}.${ending}`;
}

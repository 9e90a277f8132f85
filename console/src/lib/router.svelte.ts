// Real URLs without a library: paths choose the page, the query string holds what a page shows, so
// that a link says what its sender saw. Links are ordinary anchors and work without us.

class Router {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));
  /** Counts page changes, so that the shell moves the focus to the new heading. */
  visits = $state(0);

  constructor() {
    addEventListener('popstate', () => this.read(true));
    document.addEventListener('click', (e) => this.follow(e));
  }

  get parts(): string[] {
    return this.path.split('/').filter(Boolean).map(decode);
  }

  go(url: string): void {
    const visit = new URL(url, location.href).pathname !== location.pathname;
    history.pushState(null, '', url);
    this.read(visit);
    if (visit) scrollTo(0, 0);
  }

  /** Changes members of the query string; '' and null take one away. */
  set(changes: Record<string, string | null | undefined>): void {
    const q = new URLSearchParams(location.search);
    for (const [k, v] of Object.entries(changes)) {
      if (v) q.set(k, v);
      else q.delete(k);
    }
    const text = q.toString();
    history.replaceState(null, '', location.pathname + (text && `?${text}`));
    this.read(false);
  }

  private read(visit: boolean): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
    if (visit) this.visits++;
  }

  private follow(e: MouseEvent): void {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) {
      return;
    }
    const a = (e.target as Element | null)?.closest?.('a');
    const href = a?.getAttribute('href');
    if (!a || !href?.startsWith('/') || a.target || href.startsWith('/api/')) return;
    e.preventDefault();
    this.go(href);
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const router = new Router();

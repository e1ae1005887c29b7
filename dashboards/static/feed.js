// Server-sent events. The browser reconnects after a lost connection, but not after an error response; the feed then
// reconnects itself with increasing delays.

const FIRST_MS = 1000;
const SLOWEST_MS = 30000;

export class Feed {
  /** `onNews(object)`; `onGone(reason)`: the stream has ended; `onLink(linked)`: connected or disconnected. */
  constructor(url, { onNews, onGone, onLink }) {
    Object.assign(this, { url, onNews, onGone, onLink, wait: FIRST_MS });
    this.open();
  }

  open() {
    this.source = new EventSource(this.url);
    this.source.onopen = () => this.linked();
    this.source.onmessage = (event) => this.onNews(JSON.parse(event.data));
    this.source.onerror = () => this.lost();
    this.source.addEventListener("gone", (event) => {
      this.close();
      this.onGone(JSON.parse(event.data).error);
    });
  }

  linked() {
    this.wait = FIRST_MS;
    this.onLink(true);
  }

  lost() {
    this.onLink(false);
    if (this.source.readyState !== EventSource.CLOSED) return;
    this.timer = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, SLOWEST_MS);
  }

  close() {
    clearTimeout(this.timer);
    this.source.close();
  }
}

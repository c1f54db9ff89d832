/** One server-sent event, or a comment line. */
export interface SseEvent {
  /** "message" unless the server named it; "comment" for a line that begins with a colon. */
  event: string;
  data: string;
}

/** Reads server-sent events from text that comes in pieces, cut anywhere. */
export class SseReader {
  private rest = "";
  private event = "";
  private data: string[] = [];

  push(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    this.rest += text;
    for (;;) {
      const end = this.rest.search(/\r\n|\n|\r(?!$)/);
      if (end < 0) return events;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + (this.rest.startsWith("\r\n", end) ? 2 : 1));
      this.take(line, events);
    }
  }

  private take(line: string, events: SseEvent[]): void {
    if (line === "") {
      if (this.data.length > 0) events.push({ event: this.event || "message", data: this.data.join("\n") });
      this.event = "";
      this.data = [];
    } else if (line.startsWith(":")) {
      events.push({ event: "comment", data: line.slice(1).trim() });
    } else {
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") this.event = value;
      if (field === "data") this.data.push(value);
    }
  }
}

import type { Chat } from "./chats";

const kStore = "chats";

/** Chats in the browser's IndexedDB. Every call may fail: storage can be full, or forbidden. */
export class ChatStore {
  private constructor(private readonly database: IDBDatabase) {}

  static open(name = "commissure"): Promise<ChatStore> {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(kStore, { keyPath: "id" });
      request.onsuccess = () => resolve(new ChatStore(request.result));
      request.onerror = () => reject(request.error ?? new Error("indexedDB"));
    });
  }

  private run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(kStore, mode);
      const request = work(transaction.objectStore(kStore));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error ?? new Error("indexedDB"));
      transaction.onabort = () => reject(transaction.error ?? new Error("QuotaExceededError"));
    });
  }

  /** All chats, the latest first. */
  async all(): Promise<Chat[]> {
    const chats = await this.run<Chat[]>("readonly", (store) => store.getAll());
    return chats.sort((a, b) => b.updated - a.updated);
  }
  async put(chat: Chat): Promise<void> {
    await this.run("readwrite", (store) => store.put(chat));
  }
  async remove(id: string): Promise<void> {
    await this.run("readwrite", (store) => store.delete(id));
  }
}

/** What the server takes of an image (docs/limits.md): told before anything is sent. */
export const kMostImageBytes = 20 * 1024 * 1024;
export const kMostImages = 16;
const kKinds = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];

/** Why a file cannot be sent, as the key of a text; null: it can. */
export function imageProblem(file: { type: string; size: number }): "notAPicture" | "pictureTooLarge" | null {
  if (!kKinds.includes(file.type)) return "notAPicture";
  return file.size > kMostImageBytes ? "pictureTooLarge" : null;
}

/** Width and height with the longer side at most `most`, in whole pixels. */
export function fitWithin(width: number, height: number, most: number): [number, number] {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error("read"));
    reader.readAsDataURL(file);
  });
}

/** The file as a data: URL; made smaller in the browser where its longer side is above `most` pixels (0: as it is). */
export async function readImage(file: Blob, most: number): Promise<string> {
  if (most <= 0) return dataUrl(file);
  const bitmap = await createImageBitmap(file);
  const [width, height] = fitWithin(bitmap.width, bitmap.height, most);
  if (width === bitmap.width && height === bitmap.height) return dataUrl(file);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, width, height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

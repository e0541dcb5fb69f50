/** Frames of a video and times of a clock. */

/** The middle of a frame, in seconds: no rounding leads to its neighbour. */
export const timeOf = (frame: number, fps: number): number => (frame + 0.5) / fps;

export function frameAt(seconds: number, fps: number, frames: number): number {
  return Math.min(Math.max(Math.floor(seconds * fps + 1e-3), 0), frames - 1);
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { begun, changed, redone, undone } from "../src/history.ts";

test("undo and redo go back and forth; a change forgets what was undone", () => {
  let its = changed(changed(begun("a"), "b"), "c");
  its = undone(undone(undone(its)));
  assert.equal(its.present, "a");
  its = redone(its);
  assert.equal(its.present, "b");
  its = changed(its, "d");
  assert.equal(redone(its), its);
  assert.equal(undone(its).present, "b");
});

test("changes of the same are undone together, unless something came between", () => {
  let its = changed(changed(changed(begun(""), "c", "name"), "ca", "name"), "car", "name");
  assert.deepEqual([its.present, undone(its).present], ["car", ""]);
  its = changed(undone(redone(undone(its))), "x", "name");
  its = changed(its, "y", "other");
  assert.equal(undone(its).present, "x");
});

test("what changes nothing is no change", () => {
  const its = begun("a");
  assert.equal(changed(its, "a"), its);
});

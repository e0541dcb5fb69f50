import { defineConfig } from "vite";

// Addresses are relative to the page's <base>, which the API writes: it may be served under a path of a proxy's.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../generator_service/api/studio_files",
    assetsDir: "studio/assets",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
});

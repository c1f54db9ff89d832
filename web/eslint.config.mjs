import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["node_modules", ".next", "out", "next-env.d.ts", "public", "*.mjs"] },
  ...tseslint.configs.recommended,
);

/** A static export: every page and asset is a file that stage A serves. */
export default {
  output: "export",
  reactStrictMode: true,
  images: { unoptimized: true },
  generateBuildId: () => "page",
  eslint: { ignoreDuringBuilds: true },
  typescript: { ignoreBuildErrors: true }, // tests/lint/web_test.py checks types
  devIndicators: false,
};

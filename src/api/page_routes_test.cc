#include <string>

#include "support/packed_page.h"
#include "support/served_api.h"

namespace commissure::testing {
namespace {

const std::string kBrowser = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

/// An API with a page of three files.
class PageRoutes : public ServedApi {
 protected:
  void serve(ApiOptions options = {}) {
    options.page = page_.files();
    start(std::move(options));
  }
  std::string get(std::string_view path, const std::string& headers = "") { return ask("GET", path, "", headers); }

  const PackedPage page_{
      {{"/", "<title>chat</title>"}, {"/_next/static/a-0123456789ab.js", "code()"}, {"/dashboard", "numbers"}}};
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(PageRoutes, BrowsersGetThePageAndProgramsTheListOfEndpoints) {
  serve();
  const std::string page = get("/", kBrowser);
  EXPECT_TRUE(page.starts_with("HTTP/1.1 200 ")) << page;
  EXPECT_EQ(body_of(page), "<title>chat</title>");
  EXPECT_TRUE(has(page, "\r\ncontent-type: text/html; charset=utf-8\r\n")) << page;
  for (const char* accept : {"", "Accept: */*\r\n", "Accept: application/json\r\n"})
    EXPECT_EQ(json_of(get("/", accept))["name"], "commissure") << accept;
  EXPECT_EQ(body_of(get("/dashboard")), "numbers");
  EXPECT_TRUE(get("/_next/../dashboard").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(ask("POST", "/dashboard", "{}").starts_with("HTTP/1.1 404 "));
  EXPECT_EQ(json_of(get("/v1/models", kBrowser))["object"], "list") << "the API goes before";
}

TEST_F(PageRoutes, ArePackedForWhoUnpacksAndNotSentAgain) {
  serve();
  const std::string path = "/_next/static/a-0123456789ab.js";
  const std::string packed = get(path, "Accept-Encoding: br, gzip\r\n");
  EXPECT_TRUE(has(packed, "content-encoding: gzip\r\n")) << packed;
  EXPECT_TRUE(body_of(packed).starts_with("\x1f\x8b"));
  EXPECT_TRUE(has(packed, "cache-control: public, max-age=31536000, immutable\r\n"));
  EXPECT_EQ(body_of(get(path)), "code()");
  EXPECT_TRUE(has(get("/dashboard"), "cache-control: no-cache\r\n")) << "its name stays when it changes";

  RawClient client(server_->port());
  client.send(http_request("GET", path, "", "If-None-Match: \"of " + path + "\"\r\n"));
  const std::string same = client.read_until("\r\n\r\n");
  EXPECT_TRUE(same.starts_with("HTTP/1.1 304 Not Modified\r\n")) << same;
  EXPECT_FALSE(has(same, "content-length")) << "a 304 ends with its head";
  client.send(http_request("GET", "/live"));
  EXPECT_TRUE(client.read_response().starts_with("HTTP/1.1 200 ")) << "the connection goes on";
  client.send(http_request("HEAD", "/dashboard"));
  EXPECT_TRUE(has(client.read_until("\r\n\r\n"), "content-length: 7\r\n"));
}

TEST_F(PageRoutes, NeedNoKeyAndAllowNothingFromElsewhere) {
  ApiOptions options;
  options.api_keys = {"secret"};
  serve(std::move(options));
  const std::string page = get("/", kBrowser);
  EXPECT_TRUE(page.starts_with("HTTP/1.1 200 ")) << page;
  EXPECT_TRUE(has(page, "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';")) << page;
  EXPECT_FALSE(has(page, "unsafe")) << page;
  EXPECT_TRUE(has(page, "x-content-type-options: nosniff\r\n"));
  EXPECT_TRUE(get("/").starts_with("HTTP/1.1 401 ")) << "the list of endpoints asks for one";
  EXPECT_TRUE(get("/v1/models", kBrowser).starts_with("HTTP/1.1 401 "));
}

TEST_F(PageRoutes, AWebsiteThatCallsItselfThisServerGetsNone) {
  ApiOptions options;
  options.is_local = true;
  serve(std::move(options));
  RawClient client(server_->port());
  client.send("GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\n\r\n");
  EXPECT_TRUE(client.read_response().starts_with("HTTP/1.1 403 "));
}

TEST_F(PageRoutes, AreNotThereInAProgramWithoutThePage) {
  start();
  EXPECT_EQ(json_of(get("/", kBrowser))["name"], "commissure");
  EXPECT_TRUE(get("/dashboard").starts_with("HTTP/1.1 404 "));
}

}  // namespace
}  // namespace commissure::testing

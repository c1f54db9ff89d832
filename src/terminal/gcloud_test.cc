#include "terminal/gcloud.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

std::string words(const std::string& errors, int status = 1, const std::string& output = "") {
  return google_words({status, output, errors});
}

TEST(Gcloud, IsNeverInteractive) {
  EXPECT_EQ(gcloud({"run", "deploy"}).arguments, (std::vector<std::string>{"gcloud", "run", "deploy", "--quiet"}));
}

TEST(GoogleWords, AreTheMessageWithoutItsSurroundings) {
  EXPECT_EQ(words("Deploying...\nERROR: (gcloud.run.deploy) PERMISSION_DENIED:\n  not you.\n"),
            "PERMISSION_DENIED: not you");
  EXPECT_EQ(words("ERROR: (gcloud.x) no. This command is authenticated as me@x"), "no");
  EXPECT_EQ(words("ERROR: (gcloud.x) no.\n- '@type': type.googleapis.com/google.rpc.Help\n  links: []\n"), "no");
  EXPECT_EQ(words("ERROR: gcloud crashed (KeyError): 'x'\n\nIf you would like to report this issue, run ..."),
            "gcloud crashed (KeyError): 'x'");
}

TEST(GoogleWords, AreTheLastErrorOfSeveral) {
  EXPECT_EQ(words("ERROR: (gcloud.a) first\nERROR: (gcloud.b) second\n"), "second");
}

TEST(GoogleWords, AreTakenOutOfABodyOfJson) {
  EXPECT_EQ(words("ERROR: HttpError accessing <https://x>: response: <{}>, content <{\"error\": {\"code\": 409, "
                  "\"message\": \"Bucket\\nis taken.\"}}>"),
            "Bucket is taken");
  EXPECT_EQ(words("ERROR: (gcloud.x) content <not json>"), "content <not json>") << "what is none stays as it came";
}

TEST(GoogleWords, AreShortAndNeverNothing) {
  EXPECT_EQ(words("", 3), "exit status 3 without a word");
  EXPECT_EQ(words("ERROR: " + std::string(5000, 'x')).size(), 600u);
}

TEST(GoogleWords, OfABuildAreItsOwnLastWords) {
  const std::string output = "Step 3\n#5 ERROR: cannot find -lgrpc\nmake: *** gone\nERROR\nBUILD FAILURE: step 0\n";
  EXPECT_EQ(words("ERROR: (gcloud.builds.submit) build 1-2-3 completed with status \"FAILURE\"", 1, output),
            "build 1-2-3 completed with status \"FAILURE\": #5 ERROR: cannot find -lgrpc");
  EXPECT_EQ(words("ERROR: (gcloud.run.deploy) no", 1, output), "no") << "another call has no build";
}

TEST(LastBuildLine, IsTheLastThatLooksLikeACause) {
  EXPECT_EQ(last_build_line("error: one\nerror: two\ndone\n"), "error: two");
  EXPECT_EQ(last_build_line("compiling\nlinking\n"), "linking") << "where nothing looks like one: the last line";
  EXPECT_EQ(last_build_line("failed here\nFinished Step #1 with an error\nERROR: build step 1 failed\n"),
            "failed here");
  EXPECT_EQ(last_build_line("a\n-----------\n\n"), "a") << "a rule is no line";
  EXPECT_EQ(last_build_line(""), "");
}

TEST(LastBuildLine, HasNoColours) {
  EXPECT_EQ(last_build_line("\x1b[1;31merror:\x1b[0m bad\x1b[K\n"), "error: bad");
  EXPECT_EQ(last_build_line("denied \x1b["), "denied") << "one that is cut off";
}

}  // namespace
}  // namespace commissure

#include "cloud/image_builder.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

/// A machine on which `program` is installed and answers with `answer`; no other is.
ProgramRunner machine_with(const std::string& program, const ProgramAnswer& answer) {
  return [=](const ProgramCall& call) -> Result<ProgramAnswer> {
    if (call.arguments.front() == program) return answer;
    return Error(Code::kNotFound, "no such program: ", call.arguments.front());
  };
}

TEST(ImageBuilder, TakesTheFirstThatAnswers) {
  EXPECT_EQ(find_image_builder(machine_with("podman", {})).value(), "podman");
}

TEST(ImageBuilder, SaysWhyAnInstalledOneWillNotDo) {
  const auto builder =
      find_image_builder(machine_with("docker", {1, "", "Client: 27\nCannot connect to the daemon\n"}));
  ASSERT_FALSE(builder);
  EXPECT_EQ(builder.error().code(), Code::kUnavailable);
  EXPECT_TRUE(builder.error().message().starts_with("docker (Cannot connect to the daemon) is installed"));
}

TEST(ImageBuilder, SaysWhatToInstallWhereThereIsNone) {
  const auto builder = find_image_builder(machine_with("kaniko", {}));
  ASSERT_FALSE(builder);
  EXPECT_EQ(builder.error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace commissure

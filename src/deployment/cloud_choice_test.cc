#include "deployment/cloud_choice.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace commissure {
namespace {

CloudChoice named(const std::string& file) {
  CloudChoice choice;
  choice.file = file;
  return choice;
}

TEST(CloudChoice, ReadsTheFileThatIsNamed) {
  const testing::TempFolder folder;
  const CloudChoice choice = named(folder.write("d.yaml", "model: m\nname: demo\n"));
  EXPECT_TRUE(has_deployment_file(choice));
  const auto file = read_cloud_file(choice, {});
  ASSERT_TRUE(file.has_value()) << file.error().message();
  EXPECT_EQ(file->spec.name, "demo");
  EXPECT_EQ(file->path, choice.file) << "later messages name it";
}

TEST(CloudChoice, NamesTheFileOfAnError) {
  const testing::TempFolder folder;
  const CloudChoice broken = named(folder.write("d.yaml", "model: m\nstages: 0\n"));
  EXPECT_EQ(read_cloud_file(broken, {}).error().message(),
            broken.file + ": line 2: stages is \"0\"; it must be a whole number from 1 to 26");
  const CloudChoice none = named(folder.path("none.yaml"));
  EXPECT_FALSE(has_deployment_file(none));
  EXPECT_EQ(read_cloud_file(none, {}).error().code(), Code::kNotFound);
  EXPECT_EQ(read_cloud_file(none, {}).error().message(), "cannot read " + none.file);
}

}  // namespace
}  // namespace commissure

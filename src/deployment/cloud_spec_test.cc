#include "deployment/cloud_spec.h"

#include <gtest/gtest.h>

#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

/// What is wrong with the tests' deployment once `change` has been made; "" for nothing.
std::string problem(void (*change)(CloudSpec&)) {
  CloudSpec spec = test_spec();
  change(spec);
  const Status status = validate(spec);
  return status ? "" : status.error().message();
}

TEST(CloudSpec, NamesItsResourcesAfterTheDeployment) {
  const CloudSpec spec = test_spec();
  EXPECT_EQ(spec.service("b"), "demo-b");
  EXPECT_EQ(spec.account("build"), "demo-build@acme.iam.gserviceaccount.com");
  EXPECT_EQ(spec.repository(), "europe-west4-docker.pkg.dev/acme/demo");
  EXPECT_EQ(spec.hub_secret(), "demo-hub-token");
  EXPECT_EQ(spec.key_secret(), "demo-api-key");
  EXPECT_EQ(spec.warm_job(), "demo-warm");
}

TEST(CloudSpec, TellsStagesWhereTheWeightsLie) {
  CloudSpec spec = test_spec();
  EXPECT_EQ(spec.model_location(), "gs://acme-demo/models/gemma");
  spec.weights.file = "m.gguf";
  EXPECT_EQ(spec.model_location(), "gs://acme-demo/models/gemma/m.gguf");
  spec.weights.mounted = true;
  EXPECT_EQ(spec.model_location(), "/models/models/gemma/m.gguf");
  spec.weights.baked = true;
  EXPECT_EQ(spec.model_location(), "/model/m.gguf") << "what lies in the image is neither mounted nor fetched";
}

TEST(CloudSpec, IsValidAsTheTestsDeployIt) {
  EXPECT_EQ(problem([](CloudSpec&) {}), "");
}

TEST(CloudSpec, HasANameThatGoogleTakes) {
  for (const char* name : {"abc", "Demo", "1demo", "demo-", "de_mo", "dem\xc3\xb6", "a-name-that-is-too-long-25"}) {
    CloudSpec spec = test_spec();
    spec.name = name;
    const Status status = validate(spec);
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().message(),
              std::string("the deployment's name \"") + name +
                  "\" must be 4 to 24 lower-case letters, digits and hyphens, a letter first");
  }
  for (const char* name : {"demo", "d-27", "a-name-that-is-just-fits"}) {
    CloudSpec spec = test_spec();
    spec.name = name;
    EXPECT_TRUE(validate(spec)) << name;
  }
}

TEST(CloudSpec, HasABucketThatGoogleTakes) {
  for (const char* bucket : {"ab", "-ab", "ab-", ".ab", "ab.", "_ab", "ab_", "Ab", "a b"}) {
    CloudSpec spec = test_spec();
    spec.bucket = bucket;
    EXPECT_FALSE(validate(spec)) << bucket;
  }
  for (const char* bucket : {"abc", "a.b_c-d", "0b0", "acme-demo"}) {
    CloudSpec spec = test_spec();
    spec.bucket = bucket;
    EXPECT_TRUE(validate(spec)) << bucket;
  }
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.bucket = std::string(64, 'a'); }),
            "the bucket's name \"" + std::string(64, 'a') +
                "\" must be 3 to 63 lower-case letters, digits, hyphens, dots and underscores, a letter or digit first "
                "and last");
}

TEST(CloudSpec, SaysWhatIsMissingAndWhereToSetIt) {
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.project = ""; }),
            "no project: set `project` in commissure.yaml to your Google Cloud project id");
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.region = ""; }),
            "no region: set `region` in commissure.yaml, e.g. europe-west4");
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.internal = true; }),
            "internal stages are reached through a VPC network only: set `network` in commissure.yaml");
  EXPECT_EQ(problem([](CloudSpec& spec) {
              spec.internal = true;
              spec.network = "vpc";
            }),
            "");
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.weights.source = WeightsSource::kFiles; }),
            "the model has no files to upload");
}

TEST(CloudSpec, HasCutsForItsStages) {
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.cuts = {20}; }), "1 cuts do not make 3 stages");
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.stages.clear(); }), "2 cuts do not make 0 stages");
}

TEST(CloudSpec, WakesByAScheduleOfFiveFields) {
  for (const char* schedule : {"0 8 * * 1-5", "*/15 * * * *", "0 8,20 1 JAN MON"}) {
    CloudSpec spec = test_spec();
    spec.warm_schedule = schedule;
    EXPECT_TRUE(validate(spec)) << schedule;
  }
  for (const char* schedule : {"0 8 * *", "0 8 * * * *", "@daily", "0 8 * * mon", "0 8 * * 1;rm"}) {
    CloudSpec spec = test_spec();
    spec.warm_schedule = schedule;
    ASSERT_FALSE(validate(spec)) << schedule;
    EXPECT_NE(validate(spec).error().message().find("must be five cron fields"), std::string::npos) << schedule;
  }
  EXPECT_EQ(problem([](CloudSpec& spec) { spec.time_zone = "Berlin!"; }),
            "time_zone \"Berlin!\" must be a name of the tz database, e.g. Europe/Berlin");
  EXPECT_NE(problem([](CloudSpec& spec) { spec.time_zone = ""; }), "");
}

}  // namespace
}  // namespace commissure

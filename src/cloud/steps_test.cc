#include "cloud/steps.h"

#include <gtest/gtest.h>

#include "cloud/builds.h"
#include "cloud/executor.h"
#include "cloud/marks.h"
#include "cloud/service.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

std::vector<std::string> lines(const std::vector<CloudStep>& steps) {
  std::vector<std::string> all;
  for (const CloudStep& step : steps) {
    for (const ProgramCall& call : step.calls) all.push_back(command_line(call));
  }
  return all;
}

TEST(CloudSteps, AFirstUpMakesTheseCallsInThisOrder) {
  const std::vector<CloudStep> steps = all_steps(test_spec(), {});
  std::string names;
  for (const CloudStep& step : steps) names += step.name + " ";
  EXPECT_EQ(names, "apis repository bucket accounts access image weights stage c stage b stage a ");
  const std::vector<std::string> all = lines(steps);
  EXPECT_EQ(all.front(),
            "gcloud services enable artifactregistry.googleapis.com cloudbuild.googleapis.com "
            "cloudresourcemanager.googleapis.com iam.googleapis.com logging.googleapis.com run.googleapis.com "
            "storage.googleapis.com cloudquotas.googleapis.com --project=acme "
            "--quiet");
  EXPECT_EQ(all[3],
            "gcloud storage buckets create gs://acme-demo --project=acme --location=europe-west4 "
            "--uniform-bucket-level-access --public-access-prevention --quiet");
  EXPECT_EQ(all[all.size() - 4],
            "gcloud run services add-iam-policy-binding demo-c "
            "--member=serviceAccount:demo-b@acme.iam.gserviceaccount.com --role=roles/run.invoker "
            "--region=europe-west4 --project=acme --quiet");
}

TEST(CloudSteps, SecretsTravelOnStandardInputAndAreNeverShown) {
  CloudSpec spec = test_spec();
  spec.hub_token = true;
  const std::vector<CloudStep> steps = all_steps(spec, {.hub_token = "hf_secret", .api_key = ""});
  bool given = false;
  for (const CloudStep& step : steps) {
    for (const ProgramCall& call : step.calls) {
      EXPECT_EQ(command_line(call).find("hf_secret"), std::string::npos);
      for (const std::string& word : call.arguments) EXPECT_EQ(word.find("hf_secret"), std::string::npos);
      given |= call.input == "hf_secret";
    }
  }
  EXPECT_TRUE(given);
}

TEST(CloudSteps, SaysThatNoKeyGuardsAPublicEndpoint) {
  CloudSpec spec = test_spec();
  spec.access = CloudCallers::kPublic;
  const CloudStep open = deploy_step(spec, 0, {});
  ASSERT_EQ(open.warnings.size(), 1u);
  EXPECT_NE(open.warnings[0].find("no key is set; with `access: key`"), std::string::npos) << open.warnings[0];
  spec.api_key = true;
  EXPECT_TRUE(deploy_step(spec, 0, {}).warnings.empty());
}

TEST(CloudSteps, AMissingTokenIsAskedForByName) {
  CloudSpec spec = test_spec();
  spec.hub_token = true;
  for (const CloudStep& step : all_steps(spec, {})) {
    if (step.name == "secrets") {
      EXPECT_EQ(step.missing,
                "set HF_TOKEN in the environment; its value becomes the secret demo-hub-token: export HF_TOKEN=... "
                "(https://huggingface.co/settings/tokens)");
    }
  }
}

TEST(CloudSteps, AnImageOfThisMachineIsPushedWithATokenThatNobodySees) {
  CloudSpec spec = test_spec();
  spec.image_builder = "podman";
  const CloudStep step = image_step(spec, {});
  EXPECT_EQ(lines({step}),
            (std::vector<std::string>{
                "podman build --platform=linux/amd64 --file=/src/deploy/Dockerfile "
                "--tag=europe-west4-docker.pkg.dev/acme/demo/commissure:0.1.0-abc /src",
                "gcloud auth print-access-token --quiet | podman login --username=oauth2accesstoken --password-stdin "
                "europe-west4-docker.pkg.dev",
                "podman push europe-west4-docker.pkg.dev/acme/demo/commissure:0.1.0-abc",
                "podman logout europe-west4-docker.pkg.dev"}));
  EXPECT_EQ(step.role, "roles/artifactregistry.writer");
  CloudState there;
  there.tags = {"0.1.0-abc"};
  EXPECT_TRUE(image_step(spec, there).calls.empty()) << "whoever built it";
}

/// Everything that `test_spec` wants, there.
CloudState complete_state(const CloudSpec& spec) {
  CloudState state;
  state.project_number = "42";
  for (const char* api :
       {"artifactregistry", "cloudbuild", "cloudquotas", "cloudresourcemanager", "iam", "logging", "run", "storage"}) {
    state.apis.insert(std::string(api) + ".googleapis.com");
  }
  state.repository =
      *parse_json(R"({"cleanupPolicies": {"keep-newest": {}}, "labels": {"commissure-deployment": "demo"}})");
  state.tags = {"0.1.0-abc"};
  state.bucket = *parse_json(R"({"location": "EUROPE-WEST4", "labels": {"commissure-deployment": "demo"}})");
  Json readers = Json::array();
  for (const CloudStage& stage : spec.stages) {
    state.accounts[spec.account(stage.letter)] = account_title(spec, "stage " + stage.letter);
    readers.push_back("serviceAccount:" + spec.account(stage.letter));
  }
  state.accounts[spec.account("build")] = account_title(spec, "builds the image, fetches the weights");
  const Json build = Json::array({"serviceAccount:" + spec.account("build")});
  state.bucket_policies[spec.bucket] = {
      {"bindings", Json::array({{{"role", "roles/storage.objectViewer"},
                                 {"members", readers},
                                 {"condition", {{"expression", weights_expression(spec)}}}},
                                {{"role", "roles/storage.admin"}, {"members", build}}})}};
  state.repository_policy = {
      {"bindings", Json::array({{{"role", "roles/artifactregistry.writer"}, {"members", build}}})}};
  state.objects["models/gemma/model.safetensors"] = {"models/gemma/model.safetensors", 10, "", {}};
  state.objects["models/gemma/commissure-weights.json"] = {
      "models/gemma/commissure-weights.json", 5, "", {{"files", "1"}, {"bytes", "10"}}};
  state.services["demo-c"] = deployed_stage_c(spec, release_id(spec));
  const Json caller = Json::array({"serviceAccount:" + spec.account("b")});
  state.service_policies["demo-c"] = {
      {"bindings", Json::array({{{"role", "roles/run.invoker"}, {"members", caller}}})}};
  return state;
}

TEST(CloudSteps, ChangesNothingWhereEverythingIsThere) {
  const CloudSpec spec = test_spec();
  const CloudState state = complete_state(spec);
  EXPECT_EQ(lines({apis_step(spec, state)}), std::vector<std::string>());
  EXPECT_EQ(lines(foundation_steps(spec, state, {})), std::vector<std::string>());
  EXPECT_EQ(lines({image_step(spec, state), weights_step(spec, state), deploy_step(spec, 2, state)}),
            std::vector<std::string>());
}

TEST(CloudSteps, EveryMissingThingIsMadeAloneAndNamed) {
  const CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  state.accounts.erase(spec.account("b"));
  const auto steps = foundation_steps(spec, state, {});
  EXPECT_EQ(lines(steps), std::vector<std::string>{"gcloud iam service-accounts create demo-b --project=acme "
                                                   "'--display-name=Commissure demo: stage b' --quiet"});
  EXPECT_EQ(steps[2].differences, std::vector<std::string>{"account demo-b: absent"});
}

TEST(CloudSteps, ARightUnderAnotherConditionIsNone) {
  CloudSpec spec = test_spec();
  const CloudState state = complete_state(spec);
  spec.weights.prefix = "models/gem";  // the old condition's beginning
  const CloudStep step = foundation_steps(spec, state, {}).back();
  ASSERT_EQ(step.calls.size(), 3u);
  EXPECT_NE(command_line(step.calls[0]).find("/objects/models/gem/"), std::string::npos) << "the folder, with a slash";
}

TEST(CloudSteps, WhoMayCallAStageAndShouldNotIsTakenAwayOrNamed) {
  CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  state.service_policies["demo-c"]["bindings"].push_back(
      {{"role", "roles/run.invoker"}, {"members", {"allUsers", "user:me@example.com"}}});
  const CloudStep step = deploy_step(spec, 2, state);
  EXPECT_EQ(lines({step}),
            std::vector<std::string>{"gcloud run services remove-iam-policy-binding demo-c --member=allUsers "
                                     "--role=roles/run.invoker --region=europe-west4 --project=acme --quiet"});
  EXPECT_EQ(step.differences, std::vector<std::string>{"access: anybody may call demo-c (allUsers)"});
  ASSERT_EQ(step.warnings.size(), 1u);
  EXPECT_NE(step.warnings[0].find("user:me@example.com may call demo-c, too"), std::string::npos);
}

TEST(CloudSteps, HalfFetchedWeightsAreFetchedAgain) {
  const CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  state.objects.erase("models/gemma/model.safetensors");
  EXPECT_EQ(weights_step(spec, state).differences,
            std::vector<std::string>{"gs://acme-demo/models/gemma: 0 objects with 0 bytes instead of 1 with 10"});
  state.objects.clear();
  EXPECT_EQ(weights_step(spec, state).differences, std::vector<std::string>{"gs://acme-demo/models/gemma: absent"});
}

TEST(CloudSteps, UploadsOnlyFilesThatDiffer) {
  CloudSpec spec = test_spec();
  spec.weights.source = WeightsSource::kFiles;
  spec.weights.files = {{"/m/x.gguf", "x.gguf", 10, "AAAA"}, {"/m/y.gguf", "y.gguf", 20, "BBBB"}};
  CloudState state;
  state.objects["models/gemma/x.gguf"] = {"models/gemma/x.gguf", 10, "AAAA", {}};
  state.objects["models/gemma/y.gguf"] = {"models/gemma/y.gguf", 20, "CCCC", {}};
  const CloudStep step = weights_step(spec, state);
  EXPECT_EQ(step.differences, std::vector<std::string>{"y.gguf: another checksum"});
  EXPECT_EQ(lines({step}),
            std::vector<std::string>{
                "gcloud storage cp /m/y.gguf gs://acme-demo/models/gemma/y.gguf --project=acme --quiet"});
}

TEST(CloudSteps, ABucketElsewhereIsAWarningWithItsPrice) {
  const CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  (*state.bucket)["location"] = "US";
  const CloudStep step = foundation_steps(spec, state, {})[1];
  ASSERT_EQ(step.warnings.size(), 1u);
  EXPECT_NE(step.warnings[0].find("gs://acme-demo lies in US, the stages in europe-west4"), std::string::npos);
  EXPECT_NE(step.warnings[0].find("$0.02 per GiB"), std::string::npos);
}

TEST(CloudSteps, WeightsOfABucketElsewhereAreAWarningWithItsPrice) {
  CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  (*state.bucket)["location"] = "US";  // holds no weights now, only sources and logs of builds
  spec.weights.source = WeightsSource::kBucket;
  spec.weights.bucket = "elsewhere";
  const auto warnings = [&] {
    std::vector<std::string> all;
    for (const CloudStep& step : foundation_steps(spec, state, {}))
      all.insert(all.end(), step.warnings.begin(), step.warnings.end());
    return all;
  };
  EXPECT_TRUE(warnings().empty()) << "not known where";
  state.weights_location = "US-CENTRAL1";
  ASSERT_EQ(warnings().size(), 1u);
  EXPECT_NE(warnings()[0].find("gs://elsewhere lies in US-CENTRAL1, the stages in europe-west4"), std::string::npos);
  EXPECT_NE(warnings()[0].find("$0.02 per GiB; copy the model"), std::string::npos) << warnings()[0];
  state.weights_location = "EUROPE-WEST4";
  EXPECT_TRUE(warnings().empty());
}

TEST(CloudSteps, ABucketThatAnInterruptedUpMadeGetsItsLabel) {
  CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  state.bucket->erase("labels");
  const std::string label =
      "gcloud storage buckets update gs://acme-demo --project=acme --update-labels=commissure-deployment=demo --quiet";
  EXPECT_EQ(lines(foundation_steps(spec, state, {})), std::vector<std::string>{label});
  spec.bucket = spec.weights.bucket = "named";
  state.bucket_policies["named"] = state.bucket_policies["acme-demo"];
  EXPECT_EQ(lines(foundation_steps(spec, state, {})).size(), 3u) << "one that the file names gets rights alone";
}

TEST(CloudSteps, AScheduleWakesTheChainAsItsOwnAccount) {
  CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  EXPECT_EQ(lines({schedule_step(spec, state)}), std::vector<std::string>()) << "nobody asked";
  spec.warm_schedule = "0 8 * * 1-5";
  EXPECT_EQ(lines({schedule_step(spec, state)}),
            (std::vector<std::string>{
                "gcloud run services add-iam-policy-binding demo-a "
                "--member=serviceAccount:demo-warm@acme.iam.gserviceaccount.com --role=roles/run.invoker "
                "--region=europe-west4 --project=acme --quiet",
                "gcloud scheduler jobs create http demo-warm --location=europe-west4 --project=acme "
                "'--schedule=0 8 * * 1-5' --time-zone=Etc/UTC "
                "--uri=https://demo-a-PROJECT_NUMBER.europe-west4.run.app/health --http-method=GET "
                "--description=commissure-deployment=demo --attempt-deadline=180s --max-retry-attempts=5 "
                "--min-backoff=30s --max-backoff=120s "
                "--oidc-service-account-email=demo-warm@acme.iam.gserviceaccount.com "
                "--oidc-token-audience=https://demo-a-PROJECT_NUMBER.europe-west4.run.app --quiet"}));
  spec.access = CloudCallers::kPublic;
  EXPECT_EQ(lines({schedule_step(spec, state)}).size(), 1u) << "whom everybody may call needs no account";
  EXPECT_TRUE(validate(spec));
  for (const char* wrong : {"8", "* * * *", "0 8 * * 1-5;"}) {
    spec.warm_schedule = wrong;
    EXPECT_FALSE(validate(spec)) << wrong;
  }
  spec.warm_schedule.clear();
  state.warm_job = *parse_json(R"({"schedule": "0 8 * * 1-5", "description": "commissure-deployment=demo"})");
  const std::vector<std::string> gone = {
      "gcloud scheduler jobs delete demo-warm --location=europe-west4 --project=acme --quiet"};
  EXPECT_EQ(lines({schedule_step(spec, state)}), gone);
  EXPECT_EQ(lines(removal_steps(spec, state, false)).front(), gone.front());
}

TEST(CloudSteps, DownTakesTheServicesAndWithAllEverythingThatIsOurs) {
  const CloudSpec spec = test_spec();
  CloudState state = complete_state(spec);
  EXPECT_EQ(lines(removal_steps(spec, state, false)),
            std::vector<std::string>{"gcloud run services delete demo-c --region=europe-west4 --project=acme --quiet"});
  EXPECT_EQ(lines(removal_steps(spec, state, true)).size(), 1u + 1 + 1 + 4);
  state.bucket = *parse_json(R"({"labels": {"team": "x"}})");
  const auto steps = removal_steps(spec, state, true);
  EXPECT_TRUE(steps[1].calls.empty());
  EXPECT_EQ(steps[1].warnings.size(), 1u) << "a bucket that is not ours stays";
  EXPECT_EQ(lines(removal_steps(spec, CloudState(), true)), std::vector<std::string>());
}

TEST(CloudSteps, BakedWeightsAreFetchedByTheBuildOfTheImageAndReadByNobodyElse) {
  CloudSpec spec = test_spec();
  spec.weights.baked = true;
  spec.hub_token = true;
  spec.image += "-weights";
  EXPECT_EQ(spec.model_location(), "/model");
  EXPECT_TRUE(weights_step(spec, {}).calls.empty());
  const ProgramCall call = image_step(spec, {}).calls.at(0);
  const Json config = *parse_json(call.input);
  ASSERT_EQ(config["steps"].size(), 3u);
  EXPECT_EQ(config["steps"][1]["secretEnv"], Json::array({"HF_TOKEN"}));
  EXPECT_FALSE(config["steps"][0].contains("secretEnv") || config["steps"][2].contains("secretEnv"));
  EXPECT_EQ(config["images"], Json::array({spec.image}));
  EXPECT_EQ(config["steps"][2]["args"][1].get<std::string>().find("HF_TOKEN"), std::string::npos);
  EXPECT_NE(command_line(call).find("builds submit /src"), std::string::npos) << command_line(call);
  for (const CloudStep& step : foundation_steps(spec, {}, {"token", ""})) {
    for (const ProgramCall& each : step.calls)
      EXPECT_EQ(command_line(each).find("storage.objectViewer"), std::string::npos) << command_line(each);
  }
}

TEST(CloudSteps, WeightsOfABucketAreBakedByWhoMayReadIt) {
  CloudSpec spec = test_spec();
  spec.weights.baked = true;
  spec.weights.source = WeightsSource::kBucket;
  spec.weights.bucket = "elsewhere";
  std::string commands;
  for (const CloudStep& step : all_steps(spec, {})) {
    for (const ProgramCall& call : step.calls) commands += command_line(call) + "\n";
  }
  EXPECT_NE(commands.find("gs://elsewhere --project=acme --condition=None "
                          "--member=serviceAccount:demo-build@acme.iam.gserviceaccount.com "
                          "--role=roles/storage.objectViewer"),
            std::string::npos)
      << commands;
  EXPECT_EQ(commands.find("demo-a@acme.iam.gserviceaccount.com --role=roles/storage"), std::string::npos) << commands;
}

TEST(CloudSteps, TheFetchRunsOnCloudBuildWithoutShellTextFromTheConfiguration) {
  CloudSpec spec = test_spec();
  spec.hub_token = true;
  spec.weights.repository = "evil/$(rm)";
  const ProgramCall call = weights_build_call(spec);
  const Json config = *parse_json(call.input);
  EXPECT_EQ(config["availableSecrets"]["secretManager"][0]["versionName"],
            "projects/acme/secrets/demo-hub-token/versions/latest");
  for (const Json& step : config["steps"]) {
    EXPECT_EQ(step["args"][1].get<std::string>().find("evil"), std::string::npos);
    EXPECT_EQ(step["env"][0], "REPOSITORY=evil/$$(rm)");
  }
}

}  // namespace
}  // namespace commissure

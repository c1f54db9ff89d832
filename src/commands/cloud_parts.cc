// build, upload, deploy, scale, rollback: the parts of a deployment by hand.
#include <memory>

#include "cloud/work.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"

namespace commissure {

namespace {

CommandRun add_part(CLI::App& app, CloudParts parts) {
  auto options = std::make_shared<CloudWorkOptions>();
  add_work_flags(app, *options);
  if (parts.image) {
    app.add_flag("--local,--local-image", options->local_image,
                 "build here, by the first of docker, podman and buildah that answers, and push; else on Cloud Build");
  }
  return [options, parts] { return do_cloud_work(*options, parts, cloud_outside()); };
}

struct ScaleOptions {
  CloudWorkOptions work;
  ScaleWish wish;
};

Result<int> scale(const ScaleOptions& options) {
  if (options.wish.min_instances < 0 && options.wish.max_instances < 0) {
    return Error(Code::kInvalidArgument, "say how many: --min N, --max N or both");
  }
  return with_cloud(options.work, cloud_outside(), [&](CloudExecutor& executor, CloudConsole&) -> Result<int> {
    TRY(executor.read_services());
    TRY(executor.scale(options.wish));
    return 0;
  });
}

}  // namespace

CommandRun add_build(CLI::App& app) { return add_part(app, {.image = true}); }
CommandRun add_upload(CLI::App& app) { return add_part(app, {.weights = true}); }
CommandRun add_deploy(CLI::App& app) { return add_part(app, {.services = true}); }

CommandRun add_scale(CLI::App& app) {
  auto options = std::make_shared<ScaleOptions>();
  add_cloud_flags(app, options->work.choice);
  app.add_option("--min", options->wish.min_instances, "instances kept warm, each at its price per hour")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max", options->wish.max_instances, "most instances; makes a new revision")
      ->check(CLI::PositiveNumber);
  app.add_option("--stage", options->wish.letter, "only this stage (a, b, ...)");
  app.add_flag("--json", options->work.as_json, "one JSON object a line");
  return [options] { return scale(*options); };
}

CommandRun add_rollback(CLI::App& app) {
  auto options = std::make_shared<CloudWorkOptions>();
  add_cloud_flags(app, options->choice);
  app.add_flag("--json", options->as_json, "one JSON object a line");
  return [options] {
    return with_cloud(*options, cloud_outside(), [](CloudExecutor& executor, CloudConsole&) -> Result<int> {
      TRY(executor.read_services());
      TRY(executor.roll_back());
      return 0;
    });
  };
}

}  // namespace commissure

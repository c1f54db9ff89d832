#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "core/result.h"

namespace commissure {

/// A subcommand: `add_*` registers its flags and returns what to run once they are parsed.
/// The returned function gives the exit status, or an error that main prints on one line (exit status 1).
using CommandRun = std::function<Result<int>()>;

CommandRun add_up(CLI::App& app);
CommandRun add_supervise(CLI::App& app);
CommandRun add_ask(CLI::App& app);
CommandRun add_chat(CLI::App& app);
CommandRun add_status(CLI::App& app);
CommandRun add_logs(CLI::App& app);
CommandRun add_warm(CLI::App& app);
CommandRun add_down(CLI::App& app);
CommandRun add_stage(CLI::App& app);
CommandRun add_doctor(CLI::App& app);
CommandRun add_init(CLI::App& app);
CommandRun add_inspect(CLI::App& app);
CommandRun add_pack(CLI::App& app);
CommandRun add_plan(CLI::App& app);
CommandRun add_quantise(CLI::App& app);
CommandRun add_eval(CLI::App& app);
CommandRun add_synth(CLI::App& app);
CommandRun add_pull(CLI::App& app);
CommandRun add_models(CLI::App& app);
CommandRun add_bench(CLI::App& app);
CommandRun add_verify(CLI::App& app);
CommandRun add_top(CLI::App& app);
CommandRun add_build(CLI::App& app);
CommandRun add_upload(CLI::App& app);
CommandRun add_deploy(CLI::App& app);
CommandRun add_scale(CLI::App& app);
CommandRun add_rollback(CLI::App& app);
CommandRun add_completion(CLI::App& app);
CommandRun add_manual(CLI::App& app);

}  // namespace commissure

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "commands/command.h"
#include "commands/suggestion.h"
#include "core/bus_error.h"
#include "core/version.h"

namespace {

struct Entry {
  const char* name;
  const char* summary;
  commissure::CommandRun (*add)(CLI::App&);
  const char* examples;
};

constexpr Entry kCommands[] = {
    {"up", "Bring a deployment to Google Cloud Run, or with --local a chain of stages up on this machine",
     commissure::add_up,
     "Without --local: reads commissure.yaml, sets up what is missing in the project (APIs, repository, bucket, "
     "accounts,\n"
     "secrets, access), builds the image, brings the weights, deploys the stages, wakes them and asks a first "
     "question.\n"
     "A second run changes only what differs; an interrupted one is continued.\n\n"
     "Examples:\n"
     "  commissure up --dry-run                        every command that would run, nothing else\n"
     "  commissure up\n"
     "  commissure up --local                          three stages of the default model, attached\n"
     "  commissure up --local --stages 2 --detach      two stages, in the background\n"
     "  commissure up --local --cuts 10,20 --model ./model.gguf --port 9000\n"
     "  commissure up --local -d --name two --port 8081 --model hf:OWNER/REPO:Q4_K_M    a second one beside it\n\n"
     "On this machine a supervisor starts stages that die again, until they keep dying; `status` says why. State, "
     "logs\n"
     "and sockets lie in a folder of yours alone: COMMISSURE_RUN_DIR, else $XDG_RUNTIME_DIR/commissure, else\n"
     "/tmp/commissure-UID."},
    {"supervise", "Start a local chain's stages, and those that die again", commissure::add_supervise, ""},
    {"ask", "Ask one question and stream the answer", commissure::add_ask,
     "Examples:\n"
     "  commissure ask \"What is the capital of France?\"\n"
     "  commissure ask \"What does this do?\" <main.c\n"
     "  commissure ask --image photo.jpg \"What is in this picture?\"\n"
     "  git diff | commissure ask --system \"Write a commit message.\" --max-tokens 80\n"
     "  commissure ask --temperature 0 --json \"Say yes.\" | jq .usage"},
    {"chat", "Chat in the terminal", commissure::add_chat,
     "Examples:\n  commissure chat\n  commissure chat --system \"Answer in rhymes.\" --temperature 0.7"},
    {"status", "Show every stage: state, layers, memory, last log line", commissure::add_status,
     "Examples:\n  commissure status\n  commissure status --json | jq '.stages[].state'"},
    {"top", "Watch a chain at work: requests, tokens per second, latencies, stages", commissure::add_top,
     "On a terminal the picture is redrawn every second; q or Ctrl-C leaves. Elsewhere it is printed every second.\n"
     "Rates are those of the last second, TTFT and ITL those of the last ten. busy: share of the time a stage "
     "computed.\n"
     "step, queue and wire ms: mean per step of the stage's computing, its wait before, and the way to the next "
     "stage.\n\n"
     "Examples:\n  commissure top\n  commissure top --url https://a.example --once"},
    {"build", "Build the image on Cloud Build unless it is there", commissure::add_build,
     "Examples:\n  commissure build\n  commissure build --source . --json"},
    {"upload", "Bring the weights into the bucket unless they are there", commissure::add_upload,
     "Files of this machine are uploaded; a model of the hub goes from there to the bucket on Cloud Build.\n\n"
     "Example:\n  commissure upload"},
    {"deploy", "Deploy the stages where they differ from commissure.yaml", commissure::add_deploy,
     "Image and weights must be there: see `commissure up`.\n\nExample:\n  commissure deploy"},
    {"scale", "Keep instances of a deployment warm, or let them go", commissure::add_scale,
     "Lasts until the next `up` or `deploy`, which go by commissure.yaml.\n\n"
     "Examples:\n  commissure scale --min 1\n  commissure scale --min 0 --stage b"},
    {"rollback", "Send a deployment's traffic to the release before", commissure::add_rollback,
     "All stages go back together. The next `up` goes forward again.\n\nExample:\n  commissure rollback"},
    {"logs", "Show the stages' logs", commissure::add_logs,
     "Examples:\n  commissure logs\n  commissure logs -f --stage b"},
    {"warm", "Load all stages' weights at the same time", commissure::add_warm,
     "Examples:\n  commissure warm\n  commissure warm --url http://127.0.0.1:8080"},
    {"down", "Stop the chain on this machine; without one, take the deployment off Google Cloud", commissure::add_down,
     "Examples:\n"
     "  commissure down --name two   one of several chains on this machine\n"
     "  commissure down              a local chain if there is one, else the services of commissure.yaml\n"
     "  commissure down --all        the bucket with the weights, images, secrets and accounts too"},
    {"stage", "Run one stage process (for containers)", commissure::add_stage,
     "Examples:\n"
     "  STAGE=b K1=10 K2=20 MODEL_DIR=/models/m.gguf C_ENDPOINT=https://c.example PORT=8080 commissure stage\n"
     "  commissure stage --stage a --model ./model.gguf --port 8080"},
    {"init", "Write a commented commissure.yaml", commissure::add_init,
     "Asks project, region and model, and puts in the cheapest machines that hold the model and reach --tok-s.\n\n"
     "Examples:\n  commissure init\n"
     "  commissure init --yes --project my-project --model ./model.gguf --tok-s 5"},
    {"doctor", "Look at this machine: can a stage run here, with which kernels, and what would help",
     commissure::add_doctor,
     "Looks at CPU, memory, GPU driver and cards, the folders that stages write to, and gcloud; changes nothing.\n"
     "Exit status 0: a stage can run here; 1: it cannot, the failures say why.\n\n"
     "Examples:\n  commissure doctor\n  commissure doctor --json | jq -r '.findings[] | select(.advice != \"\") | "
     ".advice'"},
    {"inspect", "Show a model's tensors, sizes and a memory estimate per stage", commissure::add_inspect,
     "Examples:\n  commissure inspect smollm2-135m --stages 3\n  commissure inspect ./model.gguf --cuts 10,20 "
     "--tensors"},
    {"pack", "Write a model's weights once more in the order this CPU reads them fastest", commissure::add_pack,
     "The file MODEL.LAYOUT.pack beside the model is found by every stage, mapped and shared; answers keep their "
     "bits.\n"
     "It pays when several sequences decode at once, and for two-plane products. Needs AVX2 or AVX-512, which read the "
     "same file.\n\n"
     "Examples:\n  commissure pack gemma3-270m\n  commissure pack ./model.gguf"},
    {"quantise", "Write a model with quantised weights", commissure::add_quantise,
     "What --quant of `stage` and `up` does at every load, done once: the same bits. A folder of safetensors becomes "
     "a\n"
     "folder of safetensors, a GGUF a GGUF (int8 is its Q8_0; nf4 is a type that only this program reads).\n"
     "--quant bf16 expands a model that others have quantised; what this command wrote, it refuses to expand.\n\n"
     "Examples:\n"
     "  commissure quantise ./gemma-3-27b-it --quant nf4 --out ./gemma-3-27b-it-nf4\n"
     "  commissure quantise ./model-bf16.gguf --quant int8 --out ./model-int8"},
    {"eval", "Measure perplexity, and what quantisation costs", commissure::add_eval,
     "Computes the log-probability of every token of a text, in windows of --context tokens that know nothing of each\n"
     "other. With --against, also how far the two models' distributions are apart: mean Kullback-Leibler divergence "
     "in\n"
     "nats, and how often both have the same likeliest token.\n\n"
     "Examples:\n"
     "  commissure eval ./gemma-3-1b-it --text wiki.txt\n"
     "  commissure eval ./gemma-3-1b-it --quant nf4 --against ./gemma-3-1b-it --text wiki.txt --json | jq .mean_kl"},
    {"synth", "Write a model of random weights in a published model's shape", commissure::add_synth,
     "For trials of memory, speed and splits: right names, sizes and formats, activations of a sane size, and nothing "
     "to say.\n"
     "The same seed gives the same bytes on every machine. Wherever a model is named, "
     "synth:SHAPE[@FIRST-LAST][?seed=N] is\n"
     "such a model without files: each stage makes its own layers while it loads. Behind the ? also format=, dtype=, "
     "scale-down=\n"
     "and tokenizer=, apart by &. SHAPE-tiny is a few small layers of the shape.\n"
     "Exit status 2: what is asked for cannot be had (shape, layers, room on the disk, a folder that holds "
     "something).\n\n"
     "Examples:\n"
     "  commissure synth --list\n"
     "  commissure synth --shape gemma-3-27b --layers 20-43 --seed 1 ./gemma-part\n"
     "  commissure synth --shape qwen3-0.6b --format gguf --dtype q8_0 ./qwen\n"
     "  commissure synth --shape llama-3.1-8b --scale-down 8 --tokenizer ./llama-folder ./small-llama\n"
     "  commissure plan synth:gemma-3-27b --tok-s 5\n"
     "  commissure up --local --model 'synth:qwen3-0.6b?seed=7'\n"
     "  commissure up --local --stages 3 --model synth:gpt-oss-20b-tiny"},
    {"plan", "Find the cheapest chain for a model and what it costs", commissure::add_plan,
     "Reads the model's header, no weights. Times are computed from the machines' memory bandwidth: "
     "docs/planner.md.\n\n"
     "Examples:\n"
     "  commissure plan ./gemma-3-27b/config.json --streams 4 --context 8192\n"
     "  commissure plan smollm2-135m --machines cpu-4 --tok-s 20\n"
     "  commissure plan ./model.gguf --region us-central1 --json | jq .plan.cuts"},
    {"pull", "Download a model into the cache", commissure::add_pull,
     "Examples:\n"
     "  commissure pull smollm2-135m\n"
     "  commissure pull hf:OWNER/REPO --revision main --include '*.safetensors'\n"
     "  commissure pull https://models.example/model.gguf --sha256 ..."},
    {"models", "List the models in the cache and those known by name", commissure::add_models,
     "PACK is what `pack` and `up` wrote beside the weights for this CPU.\n\n"
     "Examples:\n  commissure models\n  commissure models rm smollm2-135m\n  commissure models rm --pack OWNER/REPO"},
    {"bench", "Send many requests and measure latency and throughput", commissure::add_bench,
     "What is measured, under the names and definitions of vLLM's `vllm bench serve`:\n"
     "  TTFT  time to first token: request sent to first chunk with text\n"
     "  TPOT  time per output token: (E2E - TTFT) / (output tokens - 1), one value per request\n"
     "  ITL   inter-token latency: every gap between two chunks with text, all requests together\n"
     "  E2E   request sent to last chunk with text\n"
     "  goodput: requests per second that keep all limits of --goodput\n"
     "Exit status 1 when a request failed.\n\n"
     "Examples:\n"
     "  commissure bench --requests 64 --concurrency 16 --prompt-tokens 128 --max-tokens 64\n"
     "  commissure bench --sweep --plot growth.svg        at 1, 2, 4 ... 64 streams\n"
     "  commissure bench --rate 2 --requests 120 --goodput ttft:500,tpot:60 --plot latency.svg\n"
     "  commissure bench --url http://127.0.0.1:8000 --shared-prefix 0.9 --json | jq .p99_ttft_ms"},
    {"verify", "Prove that the split changes nothing", commissure::add_verify,
     "Compares tokens and log-probabilities of the chain with those of the whole model in one stage of this process, "
     "bit\n"
     "for bit: each prompt alone, all at once, with prompts chunked differently, and with a stream between two stages\n"
     "broken in the middle. Names the first layer that differs, by checksums of every layer's rows. Where stages have\n"
     "kernels whose bits differ (GPUs, CPUs without AVX2) it compares within a tolerance and says so.\n"
     "Exit status 1 when something differs.\n\n"
     "Examples:\n"
     "  commissure verify\n"
     "  commissure verify --url https://a.example --reference ./model.gguf --prompts prompts.txt\n"
     "  commissure verify --max-tokens 64 --json | jq .same"},
    {"completion", "Print a script by which a shell completes commands and flags", commissure::add_completion,
     "Examples:\n"
     "  source <(commissure completion bash)                       in ~/.bashrc\n"
     "  commissure completion zsh >~/.zfunc/_commissure            a folder of $fpath\n"
     "  commissure completion fish >~/.config/fish/completions/commissure.fish"},
    {"manual", "Print the manual page", commissure::add_manual, "Example:\n  commissure manual | man -l -"},
};

}  // namespace

int main(int argc, char** argv) {
  commissure::explain_bus_errors();
  CLI::App app{"Commissure serves one language model from several machines, cut by layer range.", "commissure"};
  app.set_version_flag("--version", commissure::kVersion);
  app.require_subcommand(0, 1);
  app.footer(
      "Every command has --help with examples. COMMISSURE_RUN_DIR names the folder of what runs on this machine,\n"
      "COMMISSURE_CACHE that of the models, COMMISSURE_URL an endpoint, COMMISSURE_API_KEY its key.");

  std::vector<std::pair<CLI::App*, commissure::CommandRun>> commands;
  for (const Entry& entry : kCommands) {
    CLI::App* command = app.add_subcommand(entry.name, entry.summary);
    command->footer(entry.examples);
    commands.emplace_back(command, entry.add(*command));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // help and version end here too, with status 0
    if (app.exit(error) == 0) return 0;
    const std::string meant = commissure::suggestion(app, {argv + 1, argv + argc});
    if (!meant.empty()) std::fprintf(stderr, "Did you mean %s?\n", meant.c_str());
    return 2;
  }
  if (app.get_subcommands().empty()) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  for (const auto& [command, run] : commands) {
    if (!command->parsed()) continue;
    try {
      const auto status = run();
      if (status) return *status;
      std::fprintf(stderr, "commissure %s: %s\n", command->get_name().c_str(), status.error().message().c_str());
    } catch (const std::bad_alloc&) {
      std::fprintf(stderr, "commissure %s: no memory is left; `commissure doctor` tells how much there is\n",
                   command->get_name().c_str());
    } catch (const std::system_error& error) {
      std::fprintf(stderr,
                   "commissure %s: the system grants no thread (%s): raise the limits of memory (ulimit -v), of "
                   "processes (ulimit -u) or of the container\n",
                   command->get_name().c_str(), error.what());
    }
    return 1;
  }
  return 2;
}

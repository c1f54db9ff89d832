// Reads NUL-separated texts on stdin, writes the ids of each on a line, with llama.cpp.
#include "llama.h"
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>
int main(int argc, char** argv) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  auto p = llama_model_default_params();
  p.vocab_only = true;
  llama_model* m = llama_model_load_from_file(argv[1], p);
  if (!m) return 1;
  const llama_vocab* v = llama_model_get_vocab(m);
  const bool add = argc > 2 && argv[2][0] == '1', parse = argc > 3 && argv[3][0] == '1';
  std::string all((std::istreambuf_iterator<char>(std::cin)), {});
  size_t b = 0;
  while (b < all.size()) {
    size_t e = all.find('\0', b);
    std::vector<llama_token> t(e - b + 16);
    int n = llama_tokenize(v, all.data() + b, e - b, t.data(), t.size(), add, parse);
    for (int i = 0; i < n; ++i) printf(i ? " %d" : "%d", t[i]);
    printf("\n");
    b = e + 1;
  }
}

#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "core/result.h"
#include "weights/quantisation.h"

namespace commissure {

/// Takes what parse_quant takes, one name.
inline CLI::Validator quant_name_check() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const auto wish = parse_quant(text);
        return wish ? "" : wish.error().message();
      },
      "", "quantisation");
}

/// Takes what parse_quants takes: one name, or one for each stage, apart by commas.
inline CLI::Validator quant_names_check() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const int n = 1 + static_cast<int>(std::ranges::count(text, ','));
        const auto wishes = parse_quants(text, n);
        return wishes ? "" : wishes.error().message();
      },
      "", "quantisation");
}

/// The exit status of a `wish` (--quant, QUANT) that there is not, or that this model cannot have, which is said on a
/// line of its own: as of a wrong flag. Other errors are handed on.
inline Result<int> refuse(const Error& error, std::string_view wish, const char* command) {
  const bool is_about_wish = error.code() == Code::kInvalidArgument || error.code() == Code::kUnimplemented;
  if (wish.empty() || wish == "none" || !is_about_wish) return Error(error);
  std::fprintf(stderr, "commissure %s: %s\n", command, error.message().c_str());
  return 2;
}

}  // namespace commissure

#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/result.h"
#include "weights/quantisation.h"

namespace commissure {

/// Takes what parse_quant takes, one name or several apart by commas, and `others`.
inline CLI::Validator quant_name_check(const std::vector<std::string>& others = {}) {
  return CLI::Validator(
      [others](const std::string& text) -> std::string {
        if (std::ranges::find(others, text) != others.end()) return "";
        const int n = 1 + static_cast<int>(std::ranges::count(text, ','));
        const auto wishes = parse_quants(text, n);
        return wishes ? "" : wishes.error().message();
      },
      "", "quantisation");
}

/// The exit status of a wish that this model cannot have, which is said on a line of its own: as of a wrong flag.
inline Result<int> refuse(const Error& error, const char* command) {
  if (error.code() != Code::kInvalidArgument) return Error(error);
  std::fprintf(stderr, "commissure %s: %s\n", command, error.message().c_str());
  return 2;
}

}  // namespace commissure

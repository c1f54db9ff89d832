#include "weights/quantisation.h"

#include "core/ascii.h"
#include "core/index.h"

namespace commissure {

std::string quant_name(QuantWish wish) {
  switch (wish.type) {
    case Quantisation::kNone: break;
    case Quantisation::kInt8: return wish.head ? "int8+head" : "int8";
    case Quantisation::kNf4: return wish.head ? "nf4+head" : "nf4";
  }
  return "none";
}

Result<QuantWish> parse_quant(std::string_view name) {
  for (const Quantisation type : {Quantisation::kNone, Quantisation::kInt8, Quantisation::kNf4}) {
    for (const bool head : {false, true}) {
      if (name == quant_name({type, head})) return QuantWish{type, head && type != Quantisation::kNone};
    }
  }
  return Error(Code::kInvalidArgument, "quantisation is \"", name,
               "\"; it must be none, int8 or nf4, or int8+head or nf4+head for the head as well");
}

Result<std::vector<QuantWish>> parse_quants(std::string_view names, int n_stages) {
  const std::vector<std::string> each = split_list(std::string(names));
  if (each.empty()) return std::vector<QuantWish>(to_size(n_stages));
  std::vector<QuantWish> wishes;
  for (const std::string& name : each) wishes.push_back(TRY(parse_quant(name)));
  if (wishes.size() == 1) wishes.resize(to_size(n_stages), wishes.front());
  if (count_of(wishes) != n_stages) {
    return Error(Code::kInvalidArgument, "quantisation is named for ", wishes.size(), " stages, there are ", n_stages,
                 "; give one for all or one for each");
  }
  return wishes;
}

DType quantised_dtype(Quantisation type, DType stored, std::int64_t n_cols) {
  const auto fits = [&](DType dtype) { return n_cols % block_size(dtype).n_elements == 0; };
  if (type == Quantisation::kNf4 && fits(DType::kNF4)) return DType::kNF4;
  return type != Quantisation::kNone && fits(DType::kQ8_0) ? DType::kQ8_0 : stored;
}

}  // namespace commissure

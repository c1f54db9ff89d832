// Compiles a device source to machine code for a kind of card, without CUDA's headers or compiler driver:
//   cubin LIBNVRTC SOURCE_DIR OUT_DIR ARCH FILE.cu
// Writes OUT_DIR/<name>.<arch>.cubin and one line a kernel to OUT_DIR/<name>.<arch>.resources:
//   arch kernel registers shared_bytes stack_bytes spill_bytes
// Exit 1: the compiler said anything beside that, a kernel spills registers, or the file is not what driver 525 and
// newer read (sm_80 to sm_90: ELF ABI 7).
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace {

/// The compiler's interface, as far as it is used here. Every call returns 0 or an error's number.
struct Compiler {
  using Program = void*;
  int (*create)(Program*, const char* source, const char* name, int n, const char* const* headers,
                const char* const* names);
  int (*compile)(Program, int n, const char* const* options);
  int (*log_size)(Program, std::size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, std::size_t*);
  int (*cubin)(Program, char*);
  int (*destroy)(Program*);
};

[[noreturn]] void fail(const std::string& words) {
  std::fprintf(stderr, "cubin: %s\n", words.c_str());
  std::exit(1);
}

/// The compiler opens its builtins, which lie beside it, by their bare name. Opened here first they are found whatever
/// way the loader looks for libraries: under a sanitizer, whose dlopen stands in between, it does not look beside the
/// compiler.
void load_builtins(const std::filesystem::path& library) {
  for (const auto& file : std::filesystem::directory_iterator(library.parent_path())) {
    if (!file.path().filename().string().starts_with("libnvrtc-builtins.so")) continue;
    if (dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) fail(dlerror());
    return;
  }
  fail("no libnvrtc-builtins.so beside " + library.string() + "; tools/fetch_nvrtc.sh --fetch fetches both");
}

Compiler load(const char* library) {
  load_builtins(library);
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) fail(dlerror());
  Compiler calls{};
  const auto want = [&](const char* name, auto& call) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(dlsym(handle, name));
    if (call == nullptr) fail(std::string(library) + " has no " + name);
  };
  want("nvrtcCreateProgram", calls.create);
  want("nvrtcCompileProgram", calls.compile);
  want("nvrtcGetProgramLogSize", calls.log_size);
  want("nvrtcGetProgramLog", calls.log);
  want("nvrtcGetCUBINSize", calls.cubin_size);
  want("nvrtcGetCUBIN", calls.cubin);
  want("nvrtcDestroyProgram", calls.destroy);
  return calls;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read " + path.string());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What the assembler says of each kernel; everything else in the log is a complaint.
std::string read_log(const std::string& log, const std::string& arch, const std::string& name) {
  static const std::regex kEntry("ptxas info +: Compiling entry function '(\\w+)' for '\\w+'");
  static const std::regex kStack(
      "(?:ptxas +\\.)? *(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
  static const std::regex kUsed("ptxas info +: Used (\\d+) registers.*");
  static const std::regex kShared(".* (\\d+) bytes smem.*");
  static const std::regex kNoise(
      "ptxas info +: (\\(C\\d+\\) )?(Function properties for \\w+|\\d+ bytes gmem.*|Compile time = .*)|(ptxas info +: "
      ")?"
      "Function properties for \\w+|\\s*");
  std::string out, kernel, stack = "0", spills = "0";
  std::smatch match;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    line = std::regex_replace(line, std::regex("[\\0]"), "");
    if (std::regex_match(line, match, kEntry)) {
      kernel = match[1];
    } else if (std::regex_match(line, match, kStack)) {
      stack = match[1];
      spills = std::to_string(std::stoi(match[2]) + std::stoi(match[3]));
      if (spills != "0") fail(arch + ": " + kernel + " spills " + spills + " bytes of registers");
    } else if (std::regex_match(line, match, kUsed)) {
      const std::string registers = match[1];
      std::smatch shared;
      const std::string bytes = std::regex_match(line, shared, kShared) ? shared[1].str() : "0";
      out += arch + " " + kernel + " " + registers + " " + bytes + " " + stack + " " + spills + "\n";
    } else if (!std::regex_match(line, kNoise)) {
      fail(name + " for " + arch + ":\n" + log);
    }
  }
  return out;
}

void check_abi(const std::string& cubin, const std::string& arch, const std::string& name) {
  constexpr std::size_t kAbi = 8;  // in e_ident
  if (cubin.size() < 64 || cubin.compare(0, 4,
                                         "\x7f"
                                         "ELF") != 0)
    fail(name + " for " + arch + " is no ELF file");
  if (arch <= "sm_90" && arch.size() == 5 && cubin[kAbi] != 7) {
    fail(name + " for " + arch + " has ELF ABI " + std::to_string(cubin[kAbi]) + "; driver 535 reads 7");
  }
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) fail("cannot write " + path.string());
}

std::string compile(const Compiler& calls, const std::filesystem::path& root, const std::filesystem::path& source,
                    const std::string& arch, const std::filesystem::path& to) {
  const std::string text = read(source), name = source.filename().string(), include = "-I" + root.string();
  const std::string target = "--gpu-architecture=" + arch;
  Compiler::Program program = nullptr;
  if (calls.create(&program, text.c_str(), name.c_str(), 0, nullptr, nullptr) != 0) fail("no program for " + name);
  const char* options[] = {target.c_str(), include.c_str(),      "--std=c++20",
                           "--fmad=false", "--ptxas-options=-v", "-default-device"};
  const int error = calls.compile(program, 6, options);
  std::size_t size = 0;
  if (calls.log_size(program, &size) != 0) fail(name + " for " + arch + ": no log");
  std::string log(size, '\0');
  if (calls.log(program, log.data()) != 0) fail(name + " for " + arch + ": no log");
  while (!log.empty() && log.back() == '\0') log.pop_back();
  if (error != 0) fail(name + " for " + arch + ":\n" + log);
  const std::string resources = read_log(log, arch, name);
  if (calls.cubin_size(program, &size) != 0) fail(name + " for " + arch + ": no machine code");
  std::string cubin(size, '\0');
  if (calls.cubin(program, cubin.data()) != 0) fail(name + " for " + arch + ": no machine code");
  calls.destroy(&program);
  check_abi(cubin, arch, name);
  write(to, cubin);
  return resources;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) fail("usage: cubin LIBNVRTC SOURCE_DIR OUT_DIR ARCH FILE.cu");
  const std::filesystem::path source = argv[5], folder = argv[3];
  const std::string arch = argv[4], name = source.stem().string() + "." + arch;
  const std::string resources = compile(load(argv[1]), argv[2], source, arch, folder / (name + ".cubin"));
  write(folder / (name + ".resources"), resources);
}

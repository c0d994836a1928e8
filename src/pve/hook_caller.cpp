#include "pve/hook_caller.hpp"

#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace vmad::pve {
namespace {

/// More than a chain of ancestors has.
constexpr int kMostAncestors = 1000;

/// 0 when there is no such process, or it has none.
pid_t parent_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    // PID (NAME) STATE PARENT ..., and a name may hold anything.
    const auto end = text.rfind(')');
    if (end == text.npos) return 0;
    std::istringstream fields(text.substr(end + 1));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    return parent;
}

bool is_ancestor(pid_t pid) {
    pid_t at = ::getpid();
    for (int i = 0; i < kMostAncestors && at > 1; ++i)
        if ((at = parent_of(at)) == pid) return true;
    return false;
}

}  // namespace

bool hook_is_abandoned() {
    const char* text = std::getenv("VMAD_HOOK");
    if (text == nullptr) return false;
    std::istringstream words(text);
    pid_t hook = 0;
    pid_t vzdump = 0;
    if (!(words >> hook >> vzdump) || hook <= 1) return false;
    return is_ancestor(hook) && parent_of(hook) != vzdump;
}

}  // namespace vmad::pve

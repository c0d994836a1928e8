#include "base/system_path.hpp"

#include <cstdlib>

namespace vmad::base {

std::string system_path(std::string_view path) {
    const char* root = std::getenv("VMAD_ROOT");
    return (root != nullptr ? root : "") + std::string(path);
}

}  // namespace vmad::base

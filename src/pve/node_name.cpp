#include "pve/node_name.hpp"

#include <sys/utsname.h>

#include <string_view>

#include "base/error.hpp"

namespace vmad::pve {

std::string node_name() {
    utsname system{};
    if (::uname(&system) != 0) base::throw_errno("uname", "this host");
    const std::string_view name = system.nodename;
    return std::string(name.substr(0, name.find('.')));
}

}  // namespace vmad::pve

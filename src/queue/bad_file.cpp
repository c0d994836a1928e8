#include "queue/bad_file.hpp"

namespace vmad::queue {

void set_aside(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    std::string aside = name + ".bad";
    for (int i = 1; fs.status_at(directory, aside); ++i) aside = name + '.' + std::to_string(i) + ".bad";
    fs.rename(directory, name, aside);
}

bool is_set_aside(std::string_view name) noexcept { return name.ends_with(".bad"); }

}  // namespace vmad::queue

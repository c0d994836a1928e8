// What may stand on a command line: flags, options with a value, operands and subcommands.
//
// The one face of CLI11, so that only one file has to compile its many inline functions, which are
// slow. It has what vmad and vmactl use, no more; a new need gets a function here.
//
// Argument and Arguments are handles, copied at will, of something that the ArgumentParser owns: they are of
// use as long as that is. Texts are copied. Variables are written to by parse(), and outlive it. NAMES are
// CLI11's: "--lines" or "-n,--lines". Wrong declarations throw; they are mistakes of the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace vmad::cli {

/// A flag, an option or an operand. The functions that return *this refine its declaration.
class Argument {
  public:
    Argument() = default;  ///< none: only to be assigned to
    explicit Argument(CLI::Option* option) : option_(option) {}

    Argument& required();
    /// What help and messages call the value.
    Argument& value_name(const std::string& name);
    /// What help shows behind the names, in place of all else.
    Argument& help_text(const std::string& text);
    /// The value of an option may be left out, which leaves the variable as it is.
    Argument& optional_value();
    /// Each time that the option is given adds the one value that follows it.
    Argument& repeatable();
    /// The environment variable that holds when the option is not given.
    Argument& environment(const std::string& name);

    Argument& between(int least, int most);
    Argument& between(unsigned least, unsigned most);
    Argument& positive();
    Argument& one_of(const std::vector<std::string>& words);
    /// Not together with the other.
    Argument& excludes(Argument other);
    /// Only together with the other.
    Argument& needs(Argument other);

    /// Whether the line has it, with a value or without. Only after parse().
    [[nodiscard]] bool given() const;

  private:
    CLI::Option* option_ = nullptr;
};

/// Both ends are allowed.
struct DurationLimits {
    std::int64_t least_seconds;
    std::int64_t most_seconds;
};

/// What the program itself or one of its subcommands takes.
class Arguments {
  public:
    Arguments() = default;  ///< none: only to be assigned to
    explicit Arguments(CLI::App* app) : app_(app) {}

    Argument flag(const std::string& names, bool& value, const std::string& help);

    Argument option(const std::string& names, std::string& value, const std::string& help);
    Argument option(const std::string& names, std::vector<std::string>& values, const std::string& help);
    Argument option(const std::string& names, int& value, const std::string& help);
    Argument option(const std::string& names, unsigned& value, const std::string& help);
    Argument option(const std::string& names, std::size_t& value, const std::string& help);

    /// The value is spelled as base::parse_duration() takes it.
    Argument duration(const std::string& names, std::int64_t& seconds, DurationLimits limits,
                      const std::string& help);

    /// Operands are filled in the order of their declaration; one with a vector takes all that are left.
    Argument operand(const std::string& name, std::string& value, const std::string& help);
    Argument operand(const std::string& name, std::vector<std::string>& values, const std::string& help);

    /// Takes over the footer that is set by now, until it sets its own.
    Arguments subcommand(const std::string& name, const std::string& help);
    /// One of the subcommands is to be named, or parse() returns the help; no word behind it is taken for
    /// another.
    void require_subcommand();
    /// Stands below the rest of the help.
    void footer(const std::string& text);

    /// Whether this subcommand was named. Only after parse().
    [[nodiscard]] bool named() const;

  private:
    CLI::App* app_ = nullptr;
};

/// The command line of a program, with --help and --version. What the program itself takes may also stand
/// behind the subcommand.
class ArgumentParser {
  public:
    ArgumentParser(const std::string& program, const std::string& help, const std::string& version);
    ~ArgumentParser();
    ArgumentParser(const ArgumentParser&) = delete;
    ArgumentParser& operator=(const ArgumentParser&) = delete;

    [[nodiscard]] Arguments arguments() { return Arguments(app_.get()); }

    /// Adds "help [COMMAND]...", which is the same as "[COMMAND]... --help".
    void add_help_command();

    /// Reads the line, once. The text to print when it asks for help or the version, or lacks a command,
    /// instead of anything else. Throws base::UsageError for what was not declared; it names the word, and
    /// one that is spelled much like it.
    [[nodiscard]] std::optional<std::string> parse(int argc, const char* const* argv);

  private:
    [[nodiscard]] std::string help_of_words() const;

    std::unique_ptr<CLI::App> app_;
    std::vector<std::string> help_words_;  ///< behind the command "help"
};

}  // namespace vmad::cli

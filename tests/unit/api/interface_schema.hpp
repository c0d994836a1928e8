// Reads a Varlink interface description and says whether a JSON value is of one of its types.
#pragma once

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

class InterfaceSchema {
  public:
    struct Type {
        std::string name;               ///< of a builtin or named type; else "?", "[]", "()", "enum"
        std::shared_ptr<Type> element;  ///< of "?", "[]" and "{}", which is a map from strings
        /// Of "()"; those of "enum" have no type.
        std::vector<std::pair<std::string, std::shared_ptr<Type>>> fields;
    };

    /// Throws std::runtime_error for what is not a description.
    explicit InterfaceSchema(std::string_view text) : tokens_(tokens_of(text)) {
        expect("interface");
        name = take();
        while (at_ < tokens_.size()) read_member();
    }

    /// Why `value` is not of the type, or "". A struct has all its fields, but nullable ones, and no others.
    [[nodiscard]] std::string mismatch(const Type& type, const nlohmann::json& value) const {
        if (type.name == "?") return value.is_null() ? "" : mismatch(*type.element, value);
        if (type.name == "bool") return value.is_boolean() ? "" : "no bool: " + value.dump();
        if (type.name == "int") return value.is_number_integer() ? "" : "no int: " + value.dump();
        if (type.name == "string") return value.is_string() ? "" : "no string: " + value.dump();
        if (type.name == "object") return value.is_object() ? "" : "no object: " + value.dump();
        if (type.name == "enum")
            return value.is_string() && has(type, value.get<std::string>()) ? ""
                                                                            : "no such name: " + value.dump();
        if (type.name == "[]") {
            std::string first = value.is_array() ? "" : "no array: " + value.dump();
            for (const auto& item : value)
                if (first.empty()) first = mismatch(*type.element, item);
            return first;
        }
        if (type.name == "{}") {
            std::string first = value.is_object() ? "" : "no object: " + value.dump();
            for (const auto& entry : value.items())
                if (first.empty()) first = mismatch(*type.element, entry.value());
            return first;
        }
        if (type.name == "()") return struct_mismatch(type, value);
        const auto named = types.find(type.name);
        return named == types.end() ? "no such type: " + type.name : mismatch(named->second, value);
    }

    std::string name;
    std::map<std::string, Type> types;
    std::map<std::string, std::pair<Type, Type>> methods;  ///< parameters, reply
    std::map<std::string, Type> errors;

  private:
    static bool is_name(char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
    }

    static std::vector<std::string> tokens_of(std::string_view text) {
        std::vector<std::string> tokens;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '#') {
                i = std::min(text.find('\n', i), text.size());
            } else if (is_name(text[i])) {
                tokens.emplace_back();
                while (i < text.size() && is_name(text[i])) tokens.back().push_back(text[i++]);
                --i;
            } else if (text.substr(i, 2) == "->" || text.substr(i, 2) == "[]") {
                tokens.emplace_back(text.substr(i++, 2));
            } else if (std::isspace(static_cast<unsigned char>(text[i])) == 0) {
                tokens.emplace_back(1, text[i]);
            }
        }
        return tokens;
    }

    const std::string& take() {
        if (at_ == tokens_.size()) throw std::runtime_error("the description ends too early");
        return tokens_[at_++];
    }
    bool take_if(const char* token) {
        const bool found = at_ < tokens_.size() && tokens_[at_] == token;
        if (found) ++at_;
        return found;
    }
    void expect(const char* token) {
        if (!take_if(token)) throw std::runtime_error(std::string("expected ") + token);
    }

    void read_member() {
        const std::string kind = take();
        const std::string member = take();
        if (types.contains(member) || methods.contains(member) || errors.contains(member))
            throw std::runtime_error("twice: " + member);
        if (kind == "type") {
            types[member] = read_type();
        } else if (kind == "error") {
            errors[member] = read_type();
        } else if (kind == "method") {
            Type in = read_type();
            expect("->");
            methods[member] = {std::move(in), read_type()};
        } else {
            throw std::runtime_error("no member: " + kind);
        }
    }

    Type read_type() {
        if (take_if("?")) return {"?", std::make_shared<Type>(read_type()), {}};
        if (take_if("[")) {
            expect("string");
            expect("]");
            return {"{}", std::make_shared<Type>(read_type()), {}};
        }
        if (take_if("[]")) return {"[]", std::make_shared<Type>(read_type()), {}};
        if (!take_if("(")) return {take(), nullptr, {}};
        Type type{"()", nullptr, {}};
        if (take_if(")")) return type;
        do {
            const std::string field = take();
            if (has(type, field)) throw std::runtime_error("twice: " + field);
            if (take_if(":")) {
                type.fields.emplace_back(field, std::make_shared<Type>(read_type()));
            } else {
                type.name = "enum";
                type.fields.emplace_back(field, nullptr);
            }
        } while (take_if(","));
        expect(")");
        return type;
    }

    static bool has(const Type& type, const std::string& field) {
        const auto same = [&](const auto& known) { return known.first == field; };
        return std::any_of(type.fields.begin(), type.fields.end(), same);
    }

    [[nodiscard]] std::string struct_mismatch(const Type& type, const nlohmann::json& value) const {
        if (!value.is_object()) return "no struct: " + value.dump();
        for (const auto& [field, item] : value.items())
            if (!has(type, field)) return "not declared: " + field;
        for (const auto& [field, its_type] : type.fields) {
            const bool there = value.contains(field);
            if (!there && its_type->name != "?") return "missing: " + field;
            if (!there) continue;
            if (auto inner = mismatch(*its_type, value.at(field)); !inner.empty())
                return field + ": " + inner;
        }
        return "";
    }

    std::vector<std::string> tokens_;
    std::size_t at_ = 0;
};
